"""Measures of how similar two representations are, each from the covariances of the units of both alone.

covariances: what all of them take; alignment: CKA; canonical: CCA, SVCCA, PWCCA; shapes: Procrustes and angular
distances, by rotation or renumbering; prediction: linear regression; units: matching of units, hard, soft or in part.
"""
