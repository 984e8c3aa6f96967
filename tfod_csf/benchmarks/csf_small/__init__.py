"""How csf_small, the model that ships, is made and measured: its images, its trainings and the figures of its card."""
