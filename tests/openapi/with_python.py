"""Caption a photo with the client that openapi-python-client makes: ``python with_python.py URL PHOTO``."""

import io
import sys
from pathlib import Path

from captioner_client.api.captions import caption, captions
from captioner_client.models import (
    CaptionFilesBody,
    CaptionResult,
    CaptionResults,
    CaptionsBody,
    FailedPicture,
    Problem,
)
from captioner_client.types import File

from captioner_client import Client

url, photo = sys.argv[1], Path(sys.argv[2])
client = Client(base_url=url)


def file(data: bytes) -> File:
    return File(payload=io.BytesIO(data), file_name="picture", mime_type="image/jpeg")


one = caption.sync(client=client, body=CaptionFilesBody(image=file(photo.read_bytes())), beam=3, n=2)
assert isinstance(one, CaptionResult), one
assert one.alternatives

several = captions.sync(
    client=client, body=CaptionsBody(images=[file(photo.read_bytes()), file(b"not a picture")])
)
assert isinstance(several, CaptionResults), several
first, second = several.results
assert isinstance(first, CaptionResult)
assert isinstance(second, FailedPicture)
assert second.error.status == 415

refused = caption.sync(client=client, body=CaptionFilesBody(image=file(b"not a picture")))
assert isinstance(refused, Problem), refused
print(one.caption)
