"""What the service answers about spaces, keys, tenants and audit logs: the service's own schemas, by shorter names."""

from typing import Literal

from memoryd.http.schemas import admin as schemas
from memoryd.http.schemas import health

Action = Literal["read", "write", "delete", "admin"]

Space = schemas.SpaceOut
SpacePage = schemas.SpacePage
Key = schemas.KeyOut
NewKey = schemas.NewKeyOut
KeyPage = schemas.KeyPage
Tenant = schemas.TenantOut
NewTenant = schemas.NewTenantOut
TenantPage = schemas.TenantPage
AuditEntry = schemas.AuditEntryOut
AuditPage = schemas.AuditPage
OperatorEntry = schemas.OperatorEntryOut
OperatorLogPage = schemas.OperatorLogPage
Readiness = health.ReadyOut
