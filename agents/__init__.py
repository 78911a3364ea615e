"""The policy, how it is trained, and how it is measured."""

from .training.cores import wait_passively

wait_passively()  # before torch is imported, which only modules in here do
