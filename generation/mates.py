"""What jobs have in common that may share one run of a model. Pure."""

import hashlib

from generation.models import Job

BATCH_KEY_CHARS_MAX = 200
RUN_OPTIONS = ("sampler", "adapters")  # of a job's metadata: what a whole run has in common


def batch_key(job: Job) -> str:
    """What must be equal for two jobs to share one run of the model. Empty: it shares with nobody."""
    if job.kind != Job.Kind.IMAGE:
        return ""
    guidance = f"g{job.guidance_scale:g}" if job.guidance_scale else "unguided"
    options = [f"{name}={job.metadata[name]}" for name in RUN_OPTIONS if job.metadata.get(name)]
    model = f"{job.model}@{job.model_revision}"
    key = " ".join([model, f"{job.width}x{job.height}", f"{job.num_inference_steps}", guidance, *options])
    return key if len(key) <= BATCH_KEY_CHARS_MAX else hashlib.sha256(key.encode()).hexdigest()
