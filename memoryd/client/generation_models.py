"""What the service answers about embedding generations: the service's own schemas, by shorter names."""

from typing import Literal

from memoryd.http.schemas import generations as schemas

GenerationScope = Literal["installation", "tenant", "knowledge_base"]

GenerationProgress = schemas.ProgressOut
Generation = schemas.GenerationOut
GenerationPage = schemas.GenerationPage
