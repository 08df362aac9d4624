"""``python -m memoryd.http`` prints the OpenAPI document."""

import json
import sys

from memoryd.http.openapi import document

json.dump(document(), sys.stdout, indent=1, ensure_ascii=False)
sys.stdout.write("\n")
