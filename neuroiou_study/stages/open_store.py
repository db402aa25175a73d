"""From the address that a user gives to a store."""

from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.s3_store import S3Store
from neuroiou_study.stages.store import Store


def open_store(address: str) -> Store:
    """The store in a folder, or at s3://bucket/prefix. Raises ValueError for an address that is neither."""
    if address.startswith("s3://"):
        return S3Store(address)
    if "://" in address:
        raise ValueError(f"--store {address}: must be a folder or s3://bucket/prefix: change it")
    return FolderStore(address)
