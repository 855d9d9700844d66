"""The Celery worker: an application, thin tasks, and the components they work with."""
