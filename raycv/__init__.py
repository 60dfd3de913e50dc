"""Which units of independently trained networks learned the same thing?

An implementation of Li, Yosinski, Clune, Lipson & Hopcroft, "Convergent Learning: Do different neural
networks learn the same representations?" (ICLR 2016) as a Ray application.
"""

__version__ = "0.1.0"
