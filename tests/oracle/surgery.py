"""DER taken apart into nodes that hypothesis cuts, copies, swaps, moves, re-tags and writes as BER."""

from hypothesis import strategies as st

from scepd.message import tlv

_CONSTRUCTED = 0x20
_TAGS = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x16, 0x17, 0x18, 0x1E, 0x24, 0x30, 0x31, 0x80, 0xA0, 0xA1, 0xA3]


class Node:
    """One element: primitive with content, or constructed with children."""

    def __init__(self, tag, content=b"", children=None, *, form="definite"):
        self.tag, self.content, self.children, self.form = tag, content, children, form

    @classmethod
    def read(cls, der):
        """The nodes of one DER value; universal and context tags below 31 only."""
        return cls._of(tlv.read(der))

    @classmethod
    def _of(cls, element):
        if element.tag & _CONSTRUCTED:
            return cls(element.tag, children=[cls._of(child) for child in element.children])
        return cls(element.tag, element.content)

    def copy(self):
        children = None if self.children is None else [child.copy() for child in self.children]
        return Node(self.tag, self.content, children, form=self.form)

    def encode(self):
        content = self.content if self.children is None else b"".join(child.encode() for child in self.children)
        if self.form == "indefinite":
            return bytes((self.tag | _CONSTRUCTED, 0x80)) + content + b"\0\0"
        if self.form == "long":
            return bytes((self.tag, 0x84)) + len(content).to_bytes(4, "big") + content
        if self.form == "short by one":
            return tlv.write(self.tag, content)[:-1]
        if self.form == "fragments":
            pieces = [tlv.octet_string(content[i : i + 50]) for i in range(0, len(content), 50)]
            return bytes((self.tag | _CONSTRUCTED, 0x80)) + b"".join(pieces) + b"\0\0"
        return tlv.write(self.tag, content)

    def parents(self):
        """Every constructed node of the tree."""
        found = [] if self.children is None else [self]
        for node in found:
            found += [child for child in node.children if child.children is not None]
        return found

    def nodes(self):
        return [self, *(child for parent in self.parents() for child in parent.children)]


FORMS = ["indefinite", "long", "fragments", "short by one"]


def cut_one(draw, root, donors):
    """Do one thing to a child of one of the constructed nodes."""
    parent = draw(st.sampled_from(root.parents()))
    if parent.children:
        act = draw(st.sampled_from([rearrange, rearrange, spoil]))
        act(draw, parent, draw(st.integers(0, len(parent.children) - 1)), donors)


def rearrange(draw, parent, index, donors):
    """Put children elsewhere, leave them out, or take one from another tree."""
    children = parent.children
    match draw(st.sampled_from(["duplicate", "remove", "swap", "donate", "wrap"])):
        case "duplicate":
            children.insert(draw(st.integers(0, len(children))), children[index].copy())
        case "remove":
            del children[index]
        case "swap":
            other = draw(st.integers(0, len(children) - 1))
            children[index], children[other] = children[other], children[index]
        case "donate":
            children[index] = draw(st.sampled_from(draw(st.sampled_from(donors)).nodes())).copy()
        case _:
            children[index] = Node(draw(st.sampled_from([0x30, 0x31, 0xA0, 0x24])), children=[children[index]])


def spoil(draw, parent, index, _donors):
    """Change tag, content or encoding of one child."""
    child = parent.children[index]
    match draw(st.sampled_from(["tag", "form", "octets", "empty", "integer"])):
        case "tag":
            child.tag = draw(st.sampled_from(_TAGS) | st.integers(1, 30))
            if child.tag & _CONSTRUCTED and child.children is None:
                child.children = []
        case "form":
            child.form = draw(st.sampled_from(FORMS))
        case "octets":
            child.children, child.content = None, draw(st.binary(max_size=40))
        case "empty":
            child.content, child.children = b"", None if child.children is None else []
        case _:
            parent.children[index] = Node(2, draw(st.sampled_from([b"", b"\0", b"\xff" * 9, b"\x7f" * 70, b"\0\0\1"])))


@st.composite
def surgeries(draw, original, donors=()):
    """The DER of `original` after one to three operations; parts may come from the donors' DER."""
    root = Node.read(original)
    trees = [Node.read(der) for der in (original, *donors)]
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        cut_one(draw, root, trees)
    return root.encode()


@st.composite
def edits(draw, originals):
    """One of some octet strings after one to four edits, or a splice of two, or a part of one."""
    body = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body) - 1))
        match draw(st.sampled_from(["bit", "bit", "octets", "splice", "cut", "repeat"])):
            case "bit":
                body[start] ^= 1 << draw(st.integers(0, 7))
            case "octets":
                body[start : start + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
            case "splice":
                other = draw(st.sampled_from(originals))
                body[start:] = other[draw(st.integers(0, len(other))) :]
            case "cut":
                del body[start:]
            case _:
                body[start:start] = body[start : start + draw(st.integers(1, 200))]
        body = body or bytearray(b"\0")
    return bytes(body)
