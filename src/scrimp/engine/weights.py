"""What blocks weigh in tokens, remembered: an agent's request repeats all but the last few blocks of the one before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from operator import attrgetter

from scrimp.core.belief.prefix import front_of
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import TURN_BYTES
from scrimp.core.wire.tokens import Calibration, count_blocks, generation, weigh_block
from scrimp.engine.chains import Grown
from scrimp.engine.readings import READ_BYTES_MAX

#: Blocks remembered; the least recently used go first. One takes about 200 bytes.
BLOCKS_MAX = 50_000
#: Fewer blocks are looked up one by one.
CONVERSATION_MIN = 8

_SIZE_OF = attrgetter("size")
_Key = tuple[bytes, int, str | None, float, str, bool]


def _bytes_of(blocks: Sequence[Block]) -> int:
    """Return how many bytes blocks keep alive; past what `Readings` remembers they are other objects anyway."""
    return sum(map(_SIZE_OF, blocks))


class Weights:
    """Counts blocks as `count_blocks` does, weighing each only once."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, float] = OrderedDict()
        self._conversations = Grown[list[float]](READ_BYTES_MAX, _bytes_of)

    def count(self, model: str, blocks: Sequence[Block], calibration: Calibration) -> Sequence[int]:
        """Return the estimated tokens of each block."""
        return count_blocks(model, blocks, calibration, weights=self._weights(model, blocks))

    def _weights(self, model: str, blocks: Sequence[Block]) -> Sequence[float]:
        """Weigh blocks; what stands before the messages may change alone."""
        front = front_of(blocks)
        return self._part(model, blocks[:front]) + self._part(model, blocks[front:])

    def _part(self, model: str, blocks: Sequence[Block]) -> list[float]:
        """Weigh blocks; those of a conversation that goes on are the very objects that were weighed last time."""
        if len(blocks) < CONVERSATION_MIN:
            return [self._weigh(block, model) for block in blocks]

        def work(known: list[float] | None, common: int) -> list[float]:
            before = known[:common] if known else []
            return before + [self._weigh(block, model) for block in blocks[common:]]

        return self._conversations.grown((blocks[0].digest, generation(model).scale), blocks, work)

    def weighing(self, model: str, blocks: Sequence[Block]) -> Generator[None, None, None]:
        """Weigh blocks in advance, in turns: yields before each of them."""
        weighed_bytes = TURN_BYTES
        for block in blocks:
            if weighed_bytes + block.size > TURN_BYTES:
                weighed_bytes = 0
                yield
            self._weigh(block, model)
            weighed_bytes += block.size
        yield

    def _weigh(self, block: Block, model: str) -> float:
        # A mark and the form of a text (string or list) are outside the digest, and so is whether it defines a tool.
        scale, is_tool = generation(model).scale, block.path.startswith("tools.")
        key = (block.digest, block.size, block.ttl, scale, block.kind, is_tool)
        weight = self._known.get(key)
        if weight is None:
            weight = self._known[key] = weigh_block(block, model)
            if len(self._known) > BLOCKS_MAX:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return weight
