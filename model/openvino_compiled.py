"""OpenVINO graphs made ready to run, each for batches of one size or of any."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from model.openvino_graphs import core

if TYPE_CHECKING:
    import openvino

ANY = 0  # size of a batch: whatever comes

Options = dict[str, str | int | bool]

_OPTIONS: Options = {
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # inputs of 8-bit matrices stay what they are
    # Pinned, two processes on one machine would choose the same cores.
    "ENABLE_CPU_PINNING": False,
}


class CompiledGraphs:
    """A network's graphs, each compiled when it is first wanted: that takes a tenth of a second, and memory,
    and most never ask for beams."""

    def __init__(self, graphs: dict[str, openvino.Model], options: dict[str, Options]) -> None:
        """
        :param options: OpenVINO's by the graphs' names; a graph that has none is computed in float32
        """
        self._graphs, self._options = graphs, options
        self._requests: dict[tuple[str, int], Any] = {}

    def request(self, graph: str, batch: int = ANY) -> Any:
        """What runs a graph for batches of this size."""
        if (graph, batch) not in self._requests:
            self.prepare([(graph, batch)])
        return self._requests[graph, batch]

    def prepare(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Compile graphs for batches of these sizes, several at a time, where that has not been done."""
        missing = sorted(set(wanted) - self._requests.keys())
        if not missing:
            return
        with ThreadPoolExecutor(cores()) as threads:
            coming = {
                (graph, batch): threads.submit(
                    _compile, _for_batch(self._graphs[graph], batch), self._options.get(graph, {})
                )
                for graph, batch in missing
            }
        for (graph, batch), compiled in coming.items():
            self._requests[graph, batch] = compiled.result()
            if batch == ANY:
                del self._graphs[graph]  # and its weights: such a graph is wanted for no other size


def cores() -> int:
    """Of the CPU, as many as this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bytes_of_weights(graph: openvino.Model) -> int:
    """What a graph's constants take, without those of loops in it."""
    return sum(
        operation.get_byte_size() for operation in graph.get_ops() if operation.get_type_name() == "Constant"
    )


def _for_batch(graph: openvino.Model, batch: int) -> openvino.Model:
    """The same graph for batches of one size; both have their weights in the same memory."""
    if batch == ANY:
        return graph
    graph = graph.clone()
    sizes = {
        parameter: [batch if size.is_dynamic else size.get_length() for size in parameter.get_partial_shape()]
        for parameter in graph.inputs
    }
    graph.reshape(sizes)
    return graph


def _compile(graph: openvino.Model, options: Options) -> Any:
    return core().compile_model(graph, "CPU", _OPTIONS | options).create_infer_request()
