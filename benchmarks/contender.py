"""One contender on one case, in a process of its own: python -m benchmarks.contender CASE CONTENDER ADDRESS TIMES.

Prints what was measured as a JSON object. Imports are part of what is measured, so each case imports its own.
"""

import sys

CASES = {
    "start": ("starting", "start"),
    "first run": ("starting", "first_run"),
    "first call": ("starting", "first_call"),
    "installed": ("footprint", "installed"),
    "call": ("calling", "call"),
    "live": ("calling", "live"),
    "crowd": ("calling", "crowd"),
    "decode": ("decoding", "decode"),
    "fetch": ("decoding", "fetch"),
    "iterate": ("decoding", "iterate"),
    "memory": ("decoding", "memory"),
    "choose": ("choosing", "choose"),
    "log": ("logging_metrics", "log"),
    "change": ("changing", "change"),
    "save": ("saving", "save"),
}


def main() -> None:
    """Measure what the arguments say."""
    case, contender, uri, times = sys.argv[1:5]
    module, function = CASES[case]
    found = getattr(__import__(f"benchmarks.client.{module}", fromlist=[function]), function)(
        contender, uri, int(times)
    )
    import json

    print(json.dumps(found))


if __name__ == "__main__":
    main()
