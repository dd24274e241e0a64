"""Private keys whose private half is not here: what cryptography's key classes ask for beyond their one operation."""

from typing import Any, Never, Self


def own_hashes(key: object) -> frozenset[str] | None:
    """Return the digests that the key makes itself over the data, None for one that signs any digest made elsewhere."""
    return getattr(key, "hashes", None)


class Unreadable:
    """Refuses to be read with TypeError, and is its own copy; to be named before the key class that it completes."""

    def private_numbers(self) -> Never:
        """Raise TypeError."""
        self._refuse()

    def private_bytes(self, *_arguments: Any, **_options: Any) -> Never:
        """Raise TypeError."""
        self._refuse()

    def _refuse(self) -> Never:
        raise TypeError(f"{type(self).__name__} has no private half that could be read")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        return self
