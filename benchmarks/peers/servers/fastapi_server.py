"""Plain FastAPI as most first services have it: one endpoint that decodes and predicts in place."""

from __future__ import annotations

import sys

import uvicorn
from common import caption, decode, load_captioner
from fastapi import FastAPI, UploadFile

app = FastAPI()


@app.post("/caption")
async def caption_picture(image: UploadFile) -> dict[str, str]:
    return {"caption": caption(captioner, [decode(await image.read())])[0]}


if __name__ == "__main__":
    captioner = load_captioner()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
