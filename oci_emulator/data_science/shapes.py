"""The compute shapes of model deployments."""

from collections.abc import Collection
from dataclasses import dataclass

from oci_emulator.errors import InvalidParameterError
from oci_emulator.store import Json

_MAX_MEMORY_PER_OCPU = 64


@dataclass(frozen=True)
class Shape:
    """A shape; the numbers of a flexible shape are its maxima."""

    name: str
    cores: int
    memory: int
    series: str

    @property
    def flexible(self) -> bool:
        """Return whether the caller chooses OCPUs and memory."""
        return self.name.endswith(".Flex")

    def shown(self) -> Json:
        """Return the shape as ListModelDeploymentShapes shows it."""
        sizes = {"coreCount": self.cores, "memoryInGBs": self.memory}
        return {"name": self.name, **sizes, "shapeSeries": self.series}


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("VM.Standard.E3.Flex", 64, 1024, "AMD_ROME"),
        Shape("VM.Standard.E4.Flex", 64, 1024, "AMD_ROME"),
        Shape("VM.Standard.E5.Flex", 94, 1049, "AMD_ROME"),
        Shape("VM.Standard3.Flex", 32, 512, "INTEL_SKYLAKE"),
        Shape("VM.Standard.A1.Flex", 80, 512, "ARM"),
        Shape("VM.Standard2.1", 1, 15, "INTEL_SKYLAKE"),
        Shape("VM.Standard2.2", 2, 30, "INTEL_SKYLAKE"),
        Shape("VM.Standard2.4", 4, 60, "INTEL_SKYLAKE"),
        Shape("VM.Standard2.8", 8, 120, "INTEL_SKYLAKE"),
        Shape("VM.Standard2.16", 16, 240, "INTEL_SKYLAKE"),
        Shape("VM.Standard2.24", 24, 320, "INTEL_SKYLAKE"),
    )
}


def check_instance(instance: Json) -> None:
    """Refuse an instance configuration with an unknown shape, or with a size outside its limits."""
    name = instance.get("instanceShapeName")
    shape = SHAPES.get(name) if isinstance(name, str) else None
    if shape is None:
        raise _unknown(name)
    size = instance.get("modelDeploymentInstanceShapeConfigDetails")
    if not shape.flexible:
        return
    if not isinstance(size, dict) or not size.get("ocpus") or not size.get("memoryInGBs"):
        raise InvalidParameterError(
            f"Shape {name} needs ocpus and memoryInGBs in modelDeploymentInstanceShapeConfigDetails."
        )
    ocpus, memory = size["ocpus"], size["memoryInGBs"]
    if not 1 <= ocpus <= shape.cores:
        raise InvalidParameterError(f"ocpus is {ocpus}; shape {name} allows 1 to {shape.cores}.")
    if not ocpus <= memory <= min(ocpus * _MAX_MEMORY_PER_OCPU, shape.memory):
        raise InvalidParameterError(f"memoryInGBs is {memory}; with {ocpus} OCPUs it must be 1 to 64 for each.")


def check_listed(instance: Json, withdrawn: Collection[str]) -> None:
    """Refuse an instance configuration with a shape that the region has withdrawn."""
    if instance["instanceShapeName"] in withdrawn:
        raise _unknown(instance["instanceShapeName"])


def _unknown(name: object) -> InvalidParameterError:
    return InvalidParameterError(f"instanceShapeName {name!r} is not a shape that a model deployment can have.")
