"""Published widths: what well-known networks took, and for what.

They are observations, not rules: each was chosen for its own data and budget.
Entry points: `PUBLISHED`, `published_rules`, `stretch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .inquiry import Inquiry, Kind, Task
from .rule import RuleRange


@dataclass(frozen=True, kw_only=True)
class PublishedWidths:
    """The widths of a published network.

    Attributes:
        name: Of the network.
        widths: Of its layers or stages, in order.
        kind: Of network.
        tasks: What it was made for, of ours; none where we have no such task.
        purpose: What it was made for, in words.
        source: The paper.
    """

    name: str
    widths: Sequence[int]
    kind: Kind
    tasks: Sequence[Task]
    purpose: str
    source: str


PUBLISHED: Sequence[PublishedWidths] = (
    PublishedWidths(
        name="BERT-base",
        widths=(768,) * 12,
        kind=Kind.TRANSFORMER,
        tasks=(Task.LANGUAGE,),
        purpose="language, pre-trained on 3.3 billion words",
        source="Devlin et al., BERT (2019), arXiv 1810.04805, section 3",
    ),
    PublishedWidths(
        name="Transformer-base",
        widths=(512,) * 6,
        kind=Kind.TRANSFORMER,
        tasks=(Task.LANGUAGE,),
        purpose="translation, 4.5 million pairs of sentences",
        source="Vaswani et al., Attention Is All You Need (2017), arXiv 1706.03762, table 3",
    ),
    PublishedWidths(
        name="ResNet-50",
        widths=(64, 64, 128, 256, 512),
        kind=Kind.CNN,
        tasks=(Task.IMAGE,),
        purpose="images of 224 pixels, 1.28 million, 1,000 classes",
        source="He et al., Deep Residual Learning (2016), arXiv 1512.03385, table 1",
    ),
    PublishedWidths(
        name="StyleGAN2",
        widths=(512, 512, 512, 512, 512, 256, 128, 64),
        kind=Kind.CNN,
        tasks=(),
        purpose="making images, from 4 to 512 pixels; its generator falls",
        source="Karras et al., Analyzing and Improving StyleGAN (2020), arXiv 1912.04958",
    ),
    PublishedWidths(
        name="ViT-Base",
        widths=(768,) * 12,
        kind=Kind.TRANSFORMER,
        tasks=(Task.IMAGE,),
        purpose="images, pre-trained on 14 million and more",
        source="Dosovitskiy et al., An Image is Worth 16x16 Words (2021), arXiv 2010.11929, "
        "table 1",
    ),
    PublishedWidths(
        name="wav2vec 2.0 base",
        widths=(768,) * 12,
        kind=Kind.TRANSFORMER,
        tasks=(Task.SPEECH,),
        purpose="speech, pre-trained on 960 hours",
        source="Baevski et al., wav2vec 2.0 (2020), arXiv 2006.11477, section 4.2",
    ),
    PublishedWidths(
        name="AWD-LSTM",
        widths=(1150, 1150, 400),
        kind=Kind.LSTM,
        tasks=(Task.LANGUAGE,),
        purpose="language models of 1 to 2 million words",
        source="Merity et al., Regularizing and Optimizing LSTM Language Models (2018), "
        "arXiv 1708.02182, section 5",
    ),
    PublishedWidths(
        name="tabular MLP, the range searched",
        widths=(1, 512),
        kind=Kind.MLP,
        tasks=(Task.CLASSIFICATION, Task.REGRESSION),
        purpose="tables of some 10,000 to a million rows, 1 to 8 layers",
        source="Gorishniy et al., Revisiting Deep Learning Models for Tabular Data (2021), "
        "arXiv 2106.11959, appendix",
    ),
)
"""All that are shown, those made for other tasks, too."""


def published_rules(inquiry: Inquiry) -> Iterator[RuleRange]:
    """Yield the published widths as ranges; those for another task or kind do not apply."""
    for published in PUBLISHED:
        applies = inquiry.task in published.tasks and inquiry.kind is published.kind
        yield RuleRange(
            rule=f"published: {published.name}",
            formula=_describe(published.widths),
            low=min(published.widths),
            high=max(published.widths),
            unit=published.kind.unit,
            source=published.source,
            applies_to=published.purpose,
            caveat="chosen for its own data and budget"
            if applies
            else f"made for another task ({published.purpose})",
            applies=applies,
            widths=published.widths,
            binding=published.kind is not Kind.MLP,
        )


def stretch(widths: Sequence[int], layers: int) -> list[float]:
    """Return a shape of widths over another number of layers, interpolated in the logarithm."""
    ends = np.linspace(0, len(widths) - 1, layers) if layers > 1 else np.zeros(1)
    logs = np.interp(ends, np.arange(len(widths)), np.log(np.asarray(widths, dtype=np.float64)))
    return [float(width) for width in np.exp(logs)]


def _describe(widths: Sequence[int]) -> str:
    """Return "12 layers of 768", or "64-64-128-256-512"."""
    if len(set(widths)) == 1:
        return f"{len(widths)} layers of {widths[0]}"
    return "-".join(map(str, widths))
