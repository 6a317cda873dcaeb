"""Rows of a store as tests need them."""

from profiles.colocation import Colocation, Neighbour
from profiles.environment import Environment
from profiles.measurement import Confidence, Latency, LoadPoint, Measurement, Usage
from profiles.variant import DynamicBatching, Variant


def a_measurement(model: str = "bert", concurrency: int = 1, throughput: float = 10.0):
    return Measurement(
        variant=Variant(
            model,
            instance_count=2,
            dynamic_batching=DynamicBatching((2, 4), 100),
            parameters=(("intra_op_thread_count", "1"),),
        ),
        load=LoadPoint(2, concurrency),
        device_type="Tesla T4",
        environment=Environment(triton="2.51.0"),
        throughput=throughput,
        latency=Latency(1, 1, 2, 3, 4, 5),
        usage=Usage(100, 200, 30.0),
        confidence=Confidence(0.04, 0.05),
        extra={"sm_occupancy": 0.3},
    )


def a_colocation(run: str = "r1", throughput: float = 80.0) -> Colocation:
    return Colocation(
        run=run,
        model="bert",
        device_type="Tesla T4",
        load=LoadPoint(1, 2),
        solo_throughput=100.0,
        throughput=throughput,
        neighbours=(Neighbour("gpt", 5.0, {"utilization": 30.0}),),
        latency_ms=25.0,
    )
