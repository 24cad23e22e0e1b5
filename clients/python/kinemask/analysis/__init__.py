"""Everything about one picture: `client.analyze`.

found = client.analyze("street.jpg", AnalyzeOptions(instances=DetectStage(["person"]), faces=True))
print([(one.detection.label, one.mask.area_px) for one in found.instances], found.errors)
"""

from kinemask.analysis.types import Analysis, AnalyzeOptions, Instance, StoredPicture

__all__ = ["Analysis", "AnalyzeOptions", "Instance", "StoredPicture"]
