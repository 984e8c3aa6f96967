"""Label maps: TFOD's StringIntLabelMap text files, and how a class name written by a person is found in one.

Ids begin at 1; 0 is reserved for background and never written. A name in an annotation matches an item exactly, or,
when nothing does, without regard to capitals and to blanks at its ends (`resolve`): "NEUTROPHIL" is neutrophil, but
"neutrophils" matches nothing, because a guess would silently change a label.
"""

import dataclasses
import difflib
import functools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf import text_format

from tfod_csf.config.protos import string_int_label_map_pb2
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

NO_CLASS_ID = -1
_BACKGROUND = "background"
_MAX_BYTES = 5_000_000  # TFOD's largest label map, of 1,203 classes, has 0.1 MB


class LabelMapError(UserError):
    """A label map, or a class name given with one, that cannot be used."""


@dataclasses.dataclass(frozen=True)
class LabelMapItem:
    """One class.

    Attributes:
      id: 1 or more.
      name: the name in annotations and records.
      display_name: the name for people; "" means `name`.
    """

    id: int
    name: str
    display_name: str = ""


def normalize_name(name: str) -> str:
    """The name with every run of white space (line breaks too) as one blank, and none at its ends."""
    return " ".join(name.split())


class LabelMap:
    """Classes in the order of their ids.

    Raises:
      LabelMapError: no class, an id below 1, an id or a name twice, an empty name.
    """

    def __init__(self, items: Iterable[LabelMapItem]):
        self.items: tuple[LabelMapItem, ...] = tuple(sorted(items, key=lambda item: item.id))
        if not self.items:
            raise LabelMapError("a label map needs at least one class; this one is empty.")
        self._by_id: dict[int, LabelMapItem] = {}
        self._by_name: dict[str, LabelMapItem] = {}
        for item in self.items:
            if item.id < 1:
                raise LabelMapError(f"class {item.name!r} has id {item.id}; ids begin at 1 (0 is the background).")
            if not item.name.strip():
                raise LabelMapError(f"the class with id {item.id} has no name.")
            if item.id in self._by_id:
                raise LabelMapError(f"id {item.id} is used twice: {self._by_id[item.id].name!r} and {item.name!r}.")
            if item.name in self._by_name:
                raise LabelMapError(f"class {item.name!r} is used twice: ids {self._by_name[item.name].id}, {item.id}.")
            self._by_id[item.id] = item
            self._by_name[item.name] = item
        self._by_loose_name: dict[str, list[str]] = {}
        for name in self._by_name:
            self._by_loose_name.setdefault(normalize_name(name).casefold(), []).append(name)

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelMap) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return "LabelMap(" + ", ".join(f"{item.id}: {item.name!r}" for item in self.items) + ")"

    @property
    def names(self) -> list[str]:
        """Names in the order of ids."""
        return [item.name for item in self.items]

    @property
    def ids(self) -> list[int]:
        """Ids, ascending."""
        return [item.id for item in self.items]

    @property
    def max_id(self) -> int:
        """The largest id."""
        return self.items[-1].id

    @property
    def categories(self) -> list[dict]:
        """TFOD's category list [{"id", "name"}]; as there, display_name replaces name where it is given."""
        return [{"id": item.id, "name": item.display_name or item.name} for item in self.items]

    def name_of(self, class_id: int) -> str:
        """Name of an id.

        Raises:
          LabelMapError: no such id.
        """
        if class_id not in self._by_id:
            raise LabelMapError(f"class id {class_id} is not in the label map (ids: {_listed(self.ids)}).")
        return self._by_id[class_id].name

    def id_of(self, name: str) -> int:
        """Id of exactly this name.

        Raises:
          LabelMapError: no such name; says which one is near.
        """
        if name not in self._by_name:
            near = self.nearest(name)
            hint = f"did you mean {near!r}?" if near else f"known: {_listed(self.names)}."
            raise LabelMapError(f"class {name!r} is not in the label map; {hint}")
        return self._by_name[name].id

    def resolve(self, name: str) -> str | None:
        """Name of the item that a written name means: an exact match, or one up to capitals and blanks; else None."""
        if name in self._by_name:
            return name
        candidates = self._by_loose_name.get(normalize_name(name).casefold(), [])
        return candidates[0] if len(candidates) == 1 else None

    @functools.cached_property
    def ids_by_text(self) -> dict[str, int]:
        """{text: id} of the class texts a record may hold: every name, and each display name that is not a name too."""
        ids = {item.display_name: item.id for item in self.items if item.display_name}
        return ids | {item.name: item.id for item in self.items}

    def record_class_ids(self, texts: Sequence[str], labels: Sequence[int]) -> list[int]:
        """Class ids of a record's objects, from `image/object/class/text` and `image/object/class/label`.

        The text decides, letter for letter (`ids_by_text`): it means the same in every label map. An empty text takes
        the label at its place. Labels count by themselves where the record has no texts; they are not checked.

        Returns:
          One id for each text, or for each label where there are no texts; NO_CLASS_ID for a text that the label map
          does not have, and for an empty one without a label.
        """
        if not texts:
            return list(labels)
        padded = [*labels, *[NO_CLASS_ID] * len(texts)]
        return [self.ids_by_text.get(text, NO_CLASS_ID) if text else label for text, label in zip(texts, padded)]

    def nearest(self, name: str) -> str | None:
        """A name that looks like a misspelling of the given one, for messages only."""
        near = difflib.get_close_matches(normalize_name(name).casefold(), list(self._by_loose_name), n=1, cutoff=0.75)
        return self._by_loose_name[near[0]][0] if near else None


def _listed(values: Sequence) -> str:
    shown = [str(value) for value in values[:12]]
    return ", ".join(shown) + (f", ... ({len(values)} in all)" if len(values) > 12 else "")


def label_map_from_names(names: Sequence[str]) -> LabelMap:
    """Ids 1, 2, ... in the order given."""
    return LabelMap(LabelMapItem(index, name) for index, name in enumerate(names, start=1))


def load_label_map(path: str | os.PathLike) -> LabelMap:
    """Reads a label map (.pbtxt). As in TFOD, an item with id 0 that is named background is accepted and ignored.

    Raises:
      LabelMapError: names the file and what is wrong in it.
    """
    path = pathlib.Path(path)
    try:
        text = given_files.read_text(path, _MAX_BYTES)
    except OSError as error:
        raise LabelMapError(f"{path}: the label map cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise LabelMapError(f"{path}: the label map is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    try:
        message = text_format.Parse(text, string_int_label_map_pb2.StringIntLabelMap())
    except text_format.ParseError as error:
        raise LabelMapError(
            f"{path}: not a label map (line:column {error}); expected items like: item {{ id: 1 name: 'lymphocyte' }}."
        ) from error
    items = []
    for item in message.item:
        if not item.HasField("id"):
            raise LabelMapError(f"{path}: class {item.name!r} has no id; ids begin at 1.")
        if item.id != 0 or _BACKGROUND not in (item.name, item.display_name):
            items.append(LabelMapItem(item.id, item.name, item.display_name))
    try:
        return LabelMap(items)
    except LabelMapError as error:
        raise LabelMapError(f"{path}: {error}") from None


def save_label_map(label_map: LabelMap, path: str | os.PathLike) -> None:
    """Writes a label map as TFOD reads it (UTF-8 text, whole or not at all)."""
    message = string_int_label_map_pb2.StringIntLabelMap()
    for item in label_map.items:
        added = message.item.add(id=item.id, name=item.name)
        if item.display_name:
            added.display_name = item.display_name
    atomic_write.write_text(path, text_format.MessageToString(message, as_utf8=True))


def check_num_classes(label_map: LabelMap, num_classes: int, path: str | os.PathLike) -> None:
    """Refuses a label map that does not fit a model with `num_classes` (background not counted).

    Raises:
      LabelMapError: another number of classes, or ids that are not exactly 1..num_classes.
    """
    if len(label_map) != num_classes:
        raise LabelMapError(
            f"{path}: {len(label_map)} classes ({_listed(label_map.names)}), but num_classes is {num_classes}; "
            f"set num_classes to {len(label_map)} or use the label map the model was made for."
        )
    missing = sorted(set(range(1, num_classes + 1)) - set(label_map.ids))
    if missing:
        raise LabelMapError(
            f"{path}: id {missing[0]} is missing (ids: {_listed(label_map.ids)}); {num_classes} classes need the ids "
            f"1 to {num_classes}; renumber the items."
        )


def parse_class_map(entries: Sequence[str]) -> dict[str, str]:
    """Reads --class_map entries such as "platelet=" (drop) and "Lymphocyte =lymphocyte" (rename).

    Returns:
      Written name (normalized, without capitals) -> new name, "" to drop. Use with `mapped_name`.

    Raises:
      LabelMapError: an entry without "=", without a name before it, or one name mapped twice in two ways.
    """
    class_map: dict[str, str] = {}
    for entry in entries:
        old, separator, new = entry.rpartition("=")
        key, new = normalize_name(old).casefold(), normalize_name(new)
        if not separator or not key:
            raise LabelMapError(
                f"--class_map: {entry!r} is not OLD=NEW; write for example 'rbc=erythrocyte', or 'platelet=' to drop."
            )
        if class_map.setdefault(key, new) != new:
            raise LabelMapError(f"--class_map: {normalize_name(old)!r} is mapped to {class_map[key]!r} and to {new!r}.")
    return class_map


def mapped_name(name: str, class_map: Mapping[str, str]) -> str:
    """The name after `class_map` ("" when it is to be dropped), unchanged when the map does not hold it."""
    return class_map.get(normalize_name(name).casefold(), name)
