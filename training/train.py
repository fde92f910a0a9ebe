"""Data set + configuration → checkpoint. Goes on where an earlier run in the same folder stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from model import checkpoint as checkpoints
from model.checkpoint import Checkpoint
from model.config import Config
from model.config import load_config as load_model_config
from model.encoder import channels_last
from model.network import CaptionNetwork
from model.vocabulary import Vocabulary
from training.batches import Batches, CachedBatches, EncodedBatches
from training.card import make_card, write_card
from training.config import Phase, TrainConfig
from training.dataset import Example, drop_unreadable, load_split
from training.errors import TrainingError
from training.evaluation import Report, evaluate, greedy_captions
from training.features import cached, compute
from training.files import write_atomically
from training.loop import Learner
from training.metrics import cider
from training.objectives import CrossEntropy, Objective, SelfCritical
from training.pretrained import load_pretrained
from training.state import load_state, save_state

RUN = "run"  # folder beside the checkpoint's files: state, log and cached features
BEAM = 3  # the checkpoint is scored with greedy decoding and with this beam width


def train(
    config: TrainConfig, output: Path, device: str = "cpu", report: Callable[[str], None] = print
) -> None:
    """Run every phase that is not complete yet; leave the best checkpoint of the last, scored, in ``output``.

    :param report: takes a line of progress
    :raises TrainingError: the data set, the configuration or an earlier run cannot be used
    """
    run = Run(config, output, device, report)
    for number in range(run.state.phase, len(config.phases)):
        run.phase(number)
    if not load_model_config(output).card["scores"]:
        run.score()


class Run:
    """One training run: what its phases share."""

    def __init__(self, config: TrainConfig, output: Path, device: str, report: Callable[[str], None]) -> None:
        self.config, self.output, self.device, self.report = config, output, device, report
        self.state = load_state(output / RUN / "state.pt", config)
        root = Path(config.data.root)
        listed = load_split(root, config.data.train)
        self.vocabulary = Vocabulary.build(
            (caption for example in listed for caption in example.captions), config.data.vocabulary_threshold
        )
        self.examples = drop_unreadable(listed, config.preprocessing, report)
        self.validation = drop_unreadable(
            load_split(root, config.data.validation), config.preprocessing, report
        )
        self.network = self._build_network().to(device)

    def phase(self, number: int) -> None:
        """Run the epochs of a phase that are not complete yet."""
        phase, state = self.config.phases[number], self.state
        if state.best:
            self.network.load_state_dict(state.best)
        batches = self._batches(phase)
        learner = Learner(self.network, phase, self._objective(phase), self.config.bfloat16)
        if state.epoch:
            learner.resume_from(state)
        else:
            state.best_score = -1.0
        for epoch in range(state.epoch, phase.epochs):
            started = time.monotonic()
            # Seeded by its position alone, so that a resumed run draws what an unbroken one would.
            seed = (self.config.seed * 100 + number) * 1000 + epoch
            torch.manual_seed(seed)
            losses = list(learner.epoch(batches, epoch, torch.Generator().manual_seed(seed)))
            score = self._validate(learner.averaged, phase)
            if score > state.best_score:
                state.best_score = score
                state.best = {name: tensor.clone() for name, tensor in learner.averaged.state_dict().items()}
                self._save_checkpoint()
            state.epoch = epoch + 1
            state.history.append(
                {
                    "phase": phase.name,
                    "epoch": state.epoch,
                    "loss": round(sum(losses) / len(losses), 4),
                    "cider": round(score, 4),
                    "seconds": round(time.monotonic() - started),
                }
            )
            learner.save_to(state)
            self._save_state()
            self.report("  ".join(f"{key} {value}" for key, value in state.history[-1].items()))
        state.phase, state.epoch = number + 1, 0
        state.network, state.average, state.optimizer = {}, {}, {}
        self._save_state()

    def score(self) -> None:
        """Measure the checkpoint as it lies in the folder and write the figures into its card."""
        data, split = Path(self.config.data.root), self.config.data.validation
        try:
            reports = [evaluate(self.output, data, split, beam, self.device)[0] for beam in (1, BEAM)]
        except TrainingError as error:
            self.report(f"the checkpoint is complete but bears no scores: {error}")
            return
        for report in reports:
            scores = "  ".join(f"{name} {score:.4f}" for name, score in report.scores.items())
            self.report(f"{report.split}, beam {report.beam}: {scores}")
        self._save_checkpoint(reports)

    def _build_network(self) -> CaptionNetwork:
        torch.manual_seed(self.config.seed)
        network = CaptionNetwork(self._model_config([]))
        if self.config.encoder_weights and not self.state.best:
            load_pretrained(network.encoder, self.config.architecture.encoder, self.config.encoder_weights)
        channels_last(network.encoder)
        return network

    def _model_config(self, reports: list[Report]) -> Config:
        return Config(
            name=self.config.name,
            vocabulary_size=len(self.vocabulary),
            architecture=self.config.architecture,
            preprocessing=self.config.preprocessing,
            decoding=self.config.decoding,
            card=make_card(self.config, len(self.examples), reports),
        )

    def _batches(self, phase: Phase) -> Batches:
        if phase.encoder_stages:
            return EncodedBatches(self.network, self.examples, self.config.preprocessing, phase.batch_size)
        cached = self._features("train", self.examples, phase.views, self.config.bfloat16)
        return CachedBatches(self.network, cached, phase.batch_size)

    def _objective(self, phase: Phase) -> Objective:
        longest = self.config.data.max_words
        captions = [[self.vocabulary.encode(c)[:longest] for c in e.captions] for e in self.examples]
        if phase.objective == "self_critical":
            return SelfCritical(captions, phase.samples, longest)
        return CrossEntropy(captions, phase.dropout, phase.label_smoothing)

    def _validate(self, network: CaptionNetwork, phase: Phase) -> float:
        """Greedy CIDEr-D on the validation split, in float32."""
        if phase.encoder_stages:
            pooled = compute(network, self.validation, self.config.preprocessing)
        else:
            pooled = self._features("validation", self.validation, views=1, bfloat16=False)
        captions = greedy_captions(network, self.vocabulary, self.config.decoding, pooled[0])
        return cider(captions, [e.captions for e in self.validation])

    def _features(self, name: str, examples: Sequence[Example], views: int, bfloat16: bool) -> Tensor:
        path = self.output / RUN / f"features-{name}.safetensors"
        return cached(path, self.network, examples, self.config.preprocessing, views, bfloat16)

    def _save_checkpoint(self, reports: list[Report] | None = None) -> None:
        """The phase's best weights so far, as a checkpoint."""
        config = self._model_config(reports or [])
        network = CaptionNetwork(config)
        network.load_state_dict(self.state.best)
        checkpoints.save(
            self.output,
            Checkpoint(config, self.vocabulary, network),
            write_card(self.config, config.card, reports or []),
        )

    def _save_state(self) -> None:
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in self.state.history)
        write_atomically(self.output / RUN / "log.jsonl", lines)
        save_state(self.output / RUN / "state.pt", self.state, self.config)
