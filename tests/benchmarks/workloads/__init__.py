"""What is measured. Each file holds one kind of workload, with the same step in every framework side by side."""

from tests.benchmarks.workloads.generation import GENERATION
from tests.benchmarks.workloads.gpt import GPT
from tests.benchmarks.workloads.mlp import DIGITS, MNIST
from tests.benchmarks.workloads.scalar import SCALAR

BY_NAME = {workload.name: workload for workload in (SCALAR, DIGITS, MNIST, GPT, GENERATION)}
