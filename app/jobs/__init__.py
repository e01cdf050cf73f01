"""Work in the background: its states, asking for it (queue), doing it (worker), and a module for each kind of job."""
