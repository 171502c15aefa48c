"""``/jobs/{id}/promote``: a reprocess's reports made the current ones, and taken back."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service import promotion
from service.api import schemas
from service.api.dependencies import JobsWriter, ReportsReader, ServiceOf, answer
from service.context import require
from service.jobs import find_job

router = APIRouter(prefix="/jobs", tags=["jobs"])

Force = Annotated[
    bool, Query(description="even where current reports know what the job's do not; needs the scope admin")
]


@router.post("/{job}/promote", responses={200: {"model": schemas.Promotion}})
def promote_job(service: ServiceOf, caller: JobsWriter, job: str, force: Force = False) -> Response:
    """Make the reports of a reprocess the current ones, all at once; the feed tells what that changes.

    Again is no error. Sites without a report in the job keep what they have.
    """
    if force:
        require(caller, "admin")
    with service.database.write() as connection:
        return answer(promotion.promote(service.database, connection, caller, job, force=force))


@router.get("/{job}/promote", responses={200: {"model": schemas.Promotion}})
def get_promotion(service: ServiceOf, caller: ReportsReader, job: str) -> Response:
    """Return what the job's last promotion did."""
    with service.database.read() as connection:
        find_job(connection, caller.tenant, job)
        return answer(promotion.describe(connection, job))


@router.delete("/{job}/promote", responses={200: {"model": schemas.Promotion}})
def undo_promotion(service: ServiceOf, caller: JobsWriter, job: str) -> Response:
    """Take a promotion back: the reports before it are current again, except where newer ones are. Again is no error."""
    with service.database.write() as connection:
        return answer(promotion.undo(service.database, connection, caller, job))
