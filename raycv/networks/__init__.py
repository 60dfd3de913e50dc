"""The networks under study: what describes one, how it is built, what is tapped, how it is stored."""
