#!/bin/sh
# On a spot node of AWS: waits for the notice that comes two minutes before the machine goes, and tells Ray, which then
# gives the node no new work. METADATA names another server than AWS's.
metadata=${METADATA:-http://169.254.169.254}/latest
notice() {
    token=$(curl --silent --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 60" "$metadata/api/token")
    curl --silent --fail --output /dev/null --header "X-aws-ec2-metadata-token: $token" \
        "$metadata/meta-data/spot/instance-action"
}
until notice; do sleep 5; done
exec ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "spot" --deadline-remaining-seconds 110
