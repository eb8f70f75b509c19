"""An app that is called over HTTP by the program that runs it; prints what came back as JSON."""

import json
import time

import httpx

import afield
from afield import embedded

app = afield.App("shop")


@app.function()
def total(prices: list[float], discount: float = 0.0) -> dict[str, float]:
    return {"total": sum(prices) * (1 - discount)}


@app.function()
def fail(what: str) -> None:
    raise LookupError(f"there is no {what}")


@app.function()
def length(text: str) -> list[int | str]:
    return [len(text), text]


@app.function()
def binary() -> bytes:
    return b"1"


@app.function()
def slow() -> None:
    time.sleep(60)


def main() -> None:
    record = embedded.find_running()
    assert record is not None
    headers = {"Authorization": f"Bearer {record['gateway_token']}"}
    with httpx.Client(base_url=record["gateway"], headers=headers, timeout=30) as http, app.run():

        def call(function: str, query: str = "", **body: object) -> dict[str, object]:
            response = http.post(f"/v1/apps/shop/functions/{function}/call{query}", json=body)
            return {"status": response.status_code, **response.json()}

        text = "x" * 1_000_000
        long = call("length", args=[text])
        assert long["result"] == [1_000_000, text]
        print(
            json.dumps(
                {
                    "total": call("total", args=[[1.0, 2.0]], kwargs={"discount": 0.5}),
                    "fail": call("fail", args=["tea"]),
                    "binary": call("binary"),
                    "slow": call("slow", "?timeout=0.5"),
                    "wrong": call("totl"),
                    "arguments": call("total"),
                    "health": http.get("/healthz").json(),
                    "metrics": http.get("/metrics").text,
                }
            )
        )


if __name__ == "__main__":
    main()
