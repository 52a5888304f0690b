"""Whether services are ready, and the explanation where a service is not."""
