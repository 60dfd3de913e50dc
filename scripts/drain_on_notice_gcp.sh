#!/bin/sh
# On a spot node of Google Cloud: waits for the notice that comes half a minute before the machine goes, and tells Ray, which
# then gives the node no new work. METADATA names another server than Google's.
metadata=${METADATA:-http://metadata.google.internal}/computeMetadata/v1
notice() {
    [ "$(curl --silent --fail --header "Metadata-Flavor: Google" "$metadata/instance/preempted")" = TRUE ]
}
until notice; do sleep 5; done
exec ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "spot" --deadline-remaining-seconds 20
