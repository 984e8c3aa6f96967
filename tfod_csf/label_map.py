"""Label maps: TFOD's StringIntLabelMap text files, and how a class name written by a person is found in one.

Ids begin at 1; 0 is reserved for background and never written. A name in an annotation matches an item exactly, or,
when nothing does, without regard to capitals and to blanks at its ends (`resolve`): "NEUTROPHIL" is neutrophil, but
"neutrophils" matches nothing, because a guess would silently change a label.

A class has one name here (`names`): that of its first item, or, where the display_name is a class of the study and the
name is none (name: '淋巴细胞' display_name: 'lymphocyte'), the display_name, because the differential is counted by it.
Further items with the id of an earlier one are further names of its class. A class of the study under the id of another
is refused: one wrong digit would make all its cells another class.
"""

import collections
import dataclasses
import difflib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf import text_format

from tfod_csf import cell_classes
from tfod_csf.config.protos import string_int_label_map_pb2
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files
from tfod_csf.wording import listed

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

    Attributes:
      items: as they were given, by id; where several have one id, the first is the class and the others name it too.

    Raises:
      LabelMapError: no class, an id below 1, a name with two ids, an empty name, a class of the study that two classes
        are displayed as, or one with the id of another class.
    """

    def __init__(self, items: Iterable[LabelMapItem]):
        self.items: tuple[LabelMapItem, ...] = tuple(sorted(items, key=lambda item: item.id))
        if not self.items:
            raise LabelMapError("a label map needs at least one class; this one is empty.")
        self._by_id: dict[int, LabelMapItem] = {}
        written: dict[str, int] = {}
        for item in self.items:
            if item.id < 1:
                raise LabelMapError(f"class {item.name!r} has id {item.id}; ids begin at 1 (0 is the background).")
            if not item.name.strip():
                raise LabelMapError(f"the class with id {item.id} has no name.")
            if written.setdefault(item.name, item.id) != item.id:
                raise LabelMapError(f"class {item.name!r} is used twice: ids {written[item.name]}, {item.id}.")
            _check_further_name(self._by_id.setdefault(item.id, item), item)
        self._names: dict[int, str] = {}
        for item in self._by_id.values():
            name = _class_name(item)
            if name in self._names.values() or written.get(name, item.id) != item.id:
                raise LabelMapError(
                    f"class {item.name!r} (id {item.id}) is displayed as {name!r}, and so is another class; give each "
                    "class its own display_name."
                )
            self._names[item.id] = name
        displayed = {item.display_name: item.id for item in self.items if item.display_name}
        self._ids = {**displayed, **written, **{name: class_id for class_id, name in self._names.items()}}
        self._loose: dict[str, set[int]] = {}
        for name, class_id in self._ids.items():
            self._loose.setdefault(normalize_name(name).casefold(), set()).add(class_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelMap) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return "LabelMap(" + ", ".join(f"{item.id}: {item.name!r}" for item in self.items) + ")"

    @property
    def names(self) -> list[str]:
        """The classes' names in the order of ids."""
        return list(self._names.values())

    @property
    def written_names(self) -> list[str]:
        """The `name` of each class's first item, in the order of ids: what TFOD writes into records."""
        return [item.name for item in self._by_id.values()]

    @property
    def ids(self) -> list[int]:
        """Ids, ascending."""
        return list(self._by_id)

    @property
    def max_id(self) -> int:
        """The largest id."""
        return self.items[-1].id

    @property
    def categories(self) -> list[dict]:
        """TFOD's category list [{"id", "name"}]; as there, display_name replaces name where it is given.

        A display_name that several classes have replaces none of their names: metrics carry these names.
        """
        shown = collections.Counter(item.display_name for item in self._by_id.values() if item.display_name)
        return [
            {"id": item.id, "name": item.display_name if shown[item.display_name] == 1 else item.name}
            for item in self._by_id.values()
        ]

    def with_all_ids(self, num_classes: int) -> "LabelMap":
        """With a class "id 3" for each id from 1 to num_classes that has no name, as a model has it."""
        return LabelMap([*self.items, *(LabelMapItem(i, f"id {i}") for i in self.unnamed_ids(num_classes))])

    def unnamed_ids(self, num_classes: int) -> list[int]:
        """Ids from 1 to num_classes without a name."""
        return [class_id for class_id in range(1, num_classes + 1) if class_id not in self._by_id]

    def name_of(self, class_id: int) -> str:
        """Name of an id.

        Raises:
          LabelMapError: no such id.
        """
        if class_id not in self._by_id:
            raise LabelMapError(f"class id {class_id} is not in the label map (ids: {listed(self.ids)}).")
        return self._names[class_id]

    def written_name_of(self, class_id: int) -> str:
        """The `name` of the first item of an id that is there."""
        return self._by_id[class_id].name

    def id_of(self, name: str) -> int:
        """Id of exactly this name, whether it is the class's or a further or displayed one.

        Raises:
          LabelMapError: no such name; says which one is near.
        """
        if name not in self._ids:
            near = self.nearest(name)
            hint = f"did you mean {near!r}?" if near else f"known: {listed(self.names)}."
            raise LabelMapError(f"class {name!r} is not in the label map; {hint}")
        return self._ids[name]

    def resolve(self, name: str) -> str | None:
        """The class that a written name means: an exact match, or one up to capitals and blanks; else None."""
        ids = {self._ids[name]} if name in self._ids else self._loose.get(normalize_name(name).casefold(), set())
        return self._names[next(iter(ids))] if len(ids) == 1 else None

    @property
    def ids_by_text(self) -> Mapping[str, int]:
        """{text: id} of the class texts a record may hold: every name, and each display name that is not a name too."""
        return self._ids

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

    def calls_otherwise(self, class_id: int, name: str) -> bool:
        """Whether an id of this label map is another class than the one of this name.

        Capitals, blanks, and which of an id's names is written first make no difference. Nor does a name for an id that
        has none ("id 3").
        """
        unnamed = f"id {class_id}"
        if class_id not in self._by_id or unnamed in (name, self._names[class_id]):
            return False
        return self.resolve(name) != self._names[class_id]

    def nearest(self, name: str) -> str | None:
        """A name that looks like a misspelling of the given one, for messages only."""
        near = difflib.get_close_matches(normalize_name(name).casefold(), list(self._loose), n=1, cutoff=0.75)
        return self._names[min(self._loose[near[0]])] if near else None


def _class_name(item: LabelMapItem) -> str:
    """What a class is called: its name, or the class of the study that it is displayed as."""
    shown = cell_classes.canonical_name(item.display_name)
    if shown not in cell_classes.STUDY_CLASSES or cell_classes.canonical_name(item.name) == shown:
        return item.name
    if cell_classes.canonical_name(item.name) in cell_classes.STUDY_CLASSES:
        raise LabelMapError(
            f"the class with id {item.id} is named {item.name!r} and displayed as {item.display_name!r}, two classes "
            "of the study; make them one."
        )
    return shown


def _check_further_name(first: LabelMapItem, further: LabelMapItem) -> None:
    """Refuses a further item of an id that names a class of the study which the id's first item is not.

    An abbreviation or a plural of the class ("lym", "lymphocytes") is the class. Cells that are no class of the study
    may all be `unknown`.
    """
    name, other = _class_name(first), _class_name(further)
    known, of_further = cell_classes.canonical_name(name), cell_classes.canonical_name(other)
    if of_further in cell_classes.STUDY_CLASSES:
        folded = known.casefold()
        is_one_class = of_further.startswith(folded) or folded.startswith(of_further)
    else:
        is_one_class = of_further != cell_classes.UNKNOWN or known not in cell_classes.STUDY_CLASSES
    if not is_one_class:
        raise LabelMapError(
            f"classes {name!r} and {other!r} have one id, {first.id}, so that all cells of the second would count as "
            f"the first; give each class its own id (if both names mean one class, write {other!r} first)."
        )


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
    """Refuses a label map with an id that a model with `num_classes` (background not counted) does not have.

    As in TFOD, ids without a name are no mistake: COCO's 80 classes have ids up to 90.

    Raises:
      LabelMapError: the largest id is above num_classes.
    """
    if label_map.max_id > num_classes:
        raise LabelMapError(
            f"{path}: class {label_map.names[-1]!r} has id {label_map.max_id} (classes: {listed(label_map.names)}), "
            f"but num_classes is {num_classes}; set num_classes to {label_map.max_id} or use the label map the model "
            "was made for."
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
