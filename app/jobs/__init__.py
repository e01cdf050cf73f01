"""The task manager: job states, queue, worker and live updates; it is independent of the job kinds."""
