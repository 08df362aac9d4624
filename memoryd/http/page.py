"""``/docs``: the API to click through.

It is Swagger UI from a CDN. Whoever clicks there types a key in, so the version is fixed and the browser checks what it loads
(Subresource Integrity): another script than these does not run.
"""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

_FROM = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/"
# `openssl dgst -sha384 -binary FILE | openssl base64 -A`, of the files in the package that npm's registry has.
_SCRIPT = "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9"
_STYLE = "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I"
_PAGE = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>memoryd</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{_FROM}swagger-ui.css" integrity="{_STYLE}" crossorigin="anonymous">
</head>
<body>
<div id="swagger-ui">Without the internet there is no Swagger UI, but <a href="openapi.json">the document</a>.</div>
<script src="{_FROM}swagger-ui-bundle.js" integrity="{_SCRIPT}" crossorigin="anonymous"></script>
<script>SwaggerUIBundle({{url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true}})</script>
</body>
</html>
"""

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_PAGE)
