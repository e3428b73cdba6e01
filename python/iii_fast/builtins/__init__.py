"""Functions that the control plane itself answers, one module per family. They know no socket."""
