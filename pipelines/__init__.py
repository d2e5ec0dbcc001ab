"""The job: log records become evidence, evidence becomes identity, both become profiles.

One line of steps, wired in `pipelines.job.build` alone: normalize -> land -> resolve -> score. Invariant: a step tells
the next only what the store already holds durably, and nothing a record contains can make a step raise.
"""
