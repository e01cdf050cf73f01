"""Work in the background: what a job may do when (states), asking for it (queue), doing it (worker), a module a kind."""
