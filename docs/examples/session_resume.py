"""An agent that is killed in the middle of a task, and resumes it without doing anything twice.

    memoryd up                       # in one terminal: prints the URL and a key
    MEMORYD_URL=… MEMORYD_API_KEY=… python docs/examples/session_resume.py

The first run ends with kill -9 after the second step. Run it again: it goes on with the third.
"""

import os
import signal
import sys

import httpx

STEPS = ("find a flight", "book the flight", "book the hotel", "send the itinerary")


def act(step: str) -> str:
    """The side effect: something that must happen once."""
    print(f"  doing: {step}")
    return f"done: {step}"


def main(session: str, *, die_after: int | None) -> None:
    """Do the steps that are not done yet; ``die_after`` kills this process after so many."""
    base = f"{os.environ['MEMORYD_URL']}/v1/sessions/{session}/"
    headers = {"Authorization": f"Bearer {os.environ['MEMORYD_API_KEY']}"}
    with httpx.Client(base_url=base, headers=headers, timeout=30) as http:
        for number, step in enumerate(STEPS, 1):
            known = http.get(f"effects/step-{number}")
            if known.status_code == httpx.codes.OK:
                result = known.json()["value"]
                print(f"  known: {result}")
            else:
                result = act(step)
                # Recorded first: whatever dies after this, the step is not done again.
                http.put(f"effects/step-{number}", json={"value": result}).raise_for_status()
            # What follows a known effect may be there or not: the message's id and the keys see to it that it is there once.
            message = {"role": "assistant", "content": result, "id": f"step-{number}"}
            http.post("messages", json={"messages": [message]}).raise_for_status()
            once = {"Idempotency-Key": f"state-{number}"}
            http.put("state/step", json={"value": number}, headers=once).raise_for_status()
            once = {"Idempotency-Key": f"checkpoint-{number}"}
            http.post("checkpoints", json={"step": number, "label": step}, headers=once).raise_for_status()
            if number == die_after:
                print("  killed")
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        page = http.get("messages").raise_for_status().json()
        print(f"  all {len(page['messages'])} steps are done, each once")


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "trip-42"
    first = httpx.get(
        f"{os.environ['MEMORYD_URL']}/v1/sessions/{name}",
        headers={"Authorization": f"Bearer {os.environ['MEMORYD_API_KEY']}"},
        timeout=30,
    )
    main(name, die_after=2 if first.status_code == httpx.codes.NOT_FOUND else None)
