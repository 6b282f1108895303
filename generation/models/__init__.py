"""What you make: styles and products to choose from, jobs, and the images they leave.

A job row is the queue. Its status changes only in `transitions`; its children are written only there, too.
"""

from generation.models.catalogue import CatalogueRow, ImageModel, Product, ReferenceModel, Style
from generation.models.counts import DayCount, ExpansionUse
from generation.models.custom import CustomModel, ModelVersion, TrainingImage
from generation.models.images import Image
from generation.models.jobs import Job
from generation.models.nodes import BatchProfile, Node
from generation.models.providers import Provider, ProviderDelivery, RemoteRequest
from generation.models.slots import TeamSlot

__all__ = [
    "BatchProfile",
    "CatalogueRow",
    "CustomModel",
    "DayCount",
    "ExpansionUse",
    "Image",
    "ImageModel",
    "Job",
    "ModelVersion",
    "Node",
    "Product",
    "Provider",
    "ProviderDelivery",
    "ReferenceModel",
    "RemoteRequest",
    "Style",
    "TeamSlot",
    "TrainingImage",
]
