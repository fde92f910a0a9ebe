"""One training run: its phases in turn, what they share, and how it goes on after it was stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from model import checkpoint as checkpoints
from model.checkpoint import Checkpoint
from model.config import Config
from model.encoder import channels_last
from model.network import CaptionNetwork
from model.vocabulary import SPECIALS, Vocabulary
from training.batches import Batches, CachedBatches, EncodedBatches, count_steps, least_pictures
from training.card import make_card, write_card
from training.config import Phase, TrainConfig
from training.dataset import Example, drop_unreadable, load_split
from training.distributed import ALONE, Processes, SharedBatchNorm
from training.errors import TrainingError
from training.evaluation import Report, evaluate
from training.features import Recipe, cached
from training.files import write_atomically
from training.loop import Learner
from training.metrics import cider
from training.objectives import CrossEntropy, Objective, SelfCritical
from training.pretrained import load_pretrained
from training.schedule import is_over
from training.state import load_state, save_state
from training.tracking import Tracker
from training.validation import BATCH, greedy_captions, images

RUN = "run"  # folder beside the checkpoint's files: state, log, TensorBoard's files and cached features
BEAM = 3  # the checkpoint is scored with greedy decoding and with this beam width


class Run:
    """A data set, a network under training and the folder they are written to."""

    def __init__(
        self,
        config: TrainConfig,
        output: Path,
        device: str,
        tracker: Tracker,
        workers: int,
        processes: Processes = ALONE,
    ) -> None:
        """:raises TrainingError: the data set, the configuration or an earlier run cannot be used"""
        self.config, self.output, self.device, self.tracker = config, output, device, tracker
        self.workers, self.processes = workers, processes
        self.state = load_state(output / RUN / "state.pt", config)
        listed = self._listed(config.data.train)
        self.vocabulary = Vocabulary.build(
            (caption for example in listed for caption in example.captions), config.data.vocabulary_threshold
        )
        self.examples = drop_unreadable(listed, config.preprocessing, tracker.say)
        validation = self._listed(config.data.validation)
        self.validation = drop_unreadable(validation, config.preprocessing, tracker.say)
        self._check_words()
        for phase in config.phases:
            self._check_batches(phase)
        self.network = self._build_network().to(device)
        self._objectives: dict[Phase, Objective] = {}

    def phase(self, number: int) -> None:
        """Run the epochs of a phase that are not complete yet."""
        phase, state = self.config.phases[number], self.state
        if state.best:
            self.network.load_state_dict(state.best)
        learner = self.learner(phase)
        if state.network:
            learner.resume_from(state)
        else:
            state.best_score = -1.0
        while not is_over(phase, self._scores()):
            self._epoch(learner, number)
        state.phase, state.epoch = number + 1, 0
        state.network, state.average, state.optimizer = {}, {}, {}
        self._save_state()

    def learner(self, phase: Phase) -> Learner:
        """All that learns in a phase, at its beginning."""
        return Learner(
            self.network,
            phase,
            self.objective(phase),
            self._batches(phase),
            self.config.bfloat16,
            self.processes,
        )

    def score(self) -> None:
        """Measure the checkpoint as it lies in the folder and write the figures into its card."""
        data, split = Path(self.config.data.root), self.config.data.validation
        try:
            reports = [evaluate(self.output, data, split, beam, self.device).report for beam in (1, BEAM)]
        except TrainingError as error:
            self.tracker.say(f"the checkpoint is complete but bears no scores: {error}")
            return
        for report in reports:
            scores = "  ".join(f"{name} {score:.4f}" for name, score in report.scores.items())
            self.tracker.say(f"{report.split}, beam {report.beam}: {scores}")
        self._save_checkpoint(reports)

    def steps(self, phase: Phase) -> int:
        """Steps of the optimiser in an epoch."""
        return count_steps(len(self.examples), phase.batch_size, phase.passes, self.processes)

    def _listed(self, split: str) -> list[Example]:
        data = self.config.data
        return load_split(Path(data.root), split)[: data.pictures or None]

    def _epoch(self, learner: Learner, number: int) -> None:
        """Run what is left of the epoch the state stands in; keep its weights if they are the best."""
        phase, state = learner.phase, self.state
        started = saved = time.monotonic()
        count = self.steps(phase)
        self.tracker.begin_epoch(phase, state.epoch + 1, state.step, count)
        for step in learner.epoch((self.config.seed, number, state.epoch), self._scores(), state.step):
            state.losses.append(step.loss)
            state.step += 1
            state.steps += 1
            self.tracker.step(state.steps, step)
            if time.monotonic() - saved >= self.config.save_seconds and state.step < count:
                learner.save_to(state)
                self._save_state()
                saved = time.monotonic()
        loss = self.processes.mean(sum(state.losses) / len(state.losses))
        score = self.processes.agree(self._validate(learner.averaged, phase) if self.processes.main else 0.0)
        if score > state.best_score:
            state.best_score = score
            state.best = {name: tensor.clone() for name, tensor in learner.averaged.state_dict().items()}
            self._save_checkpoint()
        state.epoch, state.step, state.losses = state.epoch + 1, 0, []
        state.history.append(
            {
                "phase": phase.name,
                "epoch": state.epoch,
                "loss": round(loss, 4),
                "cider": round(score, 4),
                "seconds": round(time.monotonic() - started),
            }
        )
        learner.save_to(state)
        self._save_state()
        self.tracker.end_epoch(state.steps, state.history[-1])

    def _scores(self) -> list[float]:
        """Scores of the running phase's epochs so far."""
        return [entry["cider"] for entry in self.state.history[len(self.state.history) - self.state.epoch :]]

    def _check_words(self) -> None:
        """:raises TrainingError: there are none, or others than an earlier run's weights were made for"""
        data, begun = self.config.data, self.state.network or self.state.best
        if len(self.vocabulary) == len(SPECIALS):
            raise TrainingError(
                f"the captions of the split {data.train} hold no word {data.vocabulary_threshold} times: "
                "lower vocabulary_threshold"
            )
        if begun and len(begun["embed.weight"]) != len(self.vocabulary):
            raise TrainingError(
                f"{self.output} holds a run with {len(begun['embed.weight']):,} words, and the data set in "
                f"{data.root} has {len(self.vocabulary):,}: choose another output folder"
            )

    def _check_batches(self, phase: Phase) -> None:
        """:raises TrainingError: there are too few pictures for a step of the optimiser"""
        least = least_pictures(phase.passes, self.processes)
        for what, pictures in (
            ("its batch_size is", phase.batch_size),
            (f"in the split {self.config.data.train} there are", len(self.examples)),
        ):
            if pictures < least:
                raise TrainingError(
                    f"phase {phase.name}: a batch needs at least {least} pictures, and {what} {pictures}"
                )

    def _build_network(self) -> CaptionNetwork:
        torch.manual_seed(self.config.seed)
        try:
            network = CaptionNetwork(self._model_config([]))
        except (ValueError, RuntimeError) as error:  # an unknown encoder; a size that no layer can have
            raise TrainingError(f"the configuration's architecture is not usable: {error}") from None
        if self.config.encoder_weights and not self.state.best:
            load_pretrained(network.encoder, self.config.architecture.encoder, self.config.encoder_weights)
        channels_last(network.encoder)
        if self.processes.count > 1:
            network.norm = SharedBatchNorm.of(network.norm)
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
        depth = self.depth(phase)
        if phase.views and depth:
            recipe = Recipe(depth, phase.views, half=True, bfloat16=self.config.bfloat16)
            with self.processes.main_first():
                features = self._cached("train", self.examples, recipe)
            return CachedBatches(features, recipe.depth)
        return EncodedBatches(self.examples, self.config.preprocessing, phase.crop, self.workers)

    def objective(self, phase: Phase) -> Objective:
        """What a phase minimises; the same object whenever it is asked for."""
        if phase not in self._objectives:
            self._objectives[phase] = self._make_objective(phase)
        return self._objectives[phase]

    def _make_objective(self, phase: Phase) -> Objective:
        longest = self.config.data.max_words
        captions = [[self.vocabulary.encode(c)[:longest] for c in e.captions] for e in self.examples]
        if phase.objective == "self_critical":
            return SelfCritical(captions, phase.samples, longest, self.workers)
        return CrossEntropy(captions, phase.dropout, phase.label_smoothing, phase.scheduled_sampling)

    def _validate(self, network: CaptionNetwork, phase: Phase) -> float:
        """Greedy CIDEr-D on the validation split, in float32."""
        depth = self.depth(phase) if phase.views else 0
        if depth:
            parts = iter(self._cached("validation", self.validation, Recipe(depth))[0].split(BATCH))
        else:
            parts = images(network, self.validation, self.config.preprocessing, self.workers)
        captions = greedy_captions(network, self.vocabulary, self.config.decoding, parts, depth)
        return cider(captions, [e.captions for e in self.validation])

    @property
    def _stages(self) -> int:
        return len(self.network.encoder.stages())

    def depth(self, phase: Phase) -> int:
        """Stages of the encoder that rest during a phase.

        :raises TrainingError: more are to learn than there are
        """
        if phase.encoder_stages > self._stages:
            raise TrainingError(
                f"phase {phase.name}: encoder_stages is {phase.encoder_stages}, but "
                f"{self.config.architecture.encoder} has {self._stages} stages"
            )
        return self._stages - phase.encoder_stages

    def _cached(self, name: str, examples: Sequence[Example], recipe: Recipe) -> Tensor:
        path = self.output / RUN / f"features-{name}-{recipe.depth}.safetensors"
        return cached(path, self.network, examples, self.config.preprocessing, recipe)

    def _save_checkpoint(self, reports: list[Report] | None = None) -> None:
        """The phase's best weights so far, as a checkpoint."""
        if not self.processes.main:
            return
        config = self._model_config(reports or [])
        network = CaptionNetwork(config)
        network.load_state_dict(self.state.best)
        checkpoints.save(
            self.output,
            Checkpoint(config, self.vocabulary, network),
            write_card(self.config, config.card, reports or []),
        )

    def _save_state(self) -> None:
        if not self.processes.main:
            return
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in self.state.history)
        write_atomically(self.output / RUN / "log.jsonl", lines)
        save_state(self.output / RUN / "state.pt", self.state, self.config)
