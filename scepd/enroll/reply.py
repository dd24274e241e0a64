"""What the enrolment room hands to the web room: one HTTP answer and what the log says of it."""

import attrs

from scepd.message.names import PKI_MESSAGE_TYPE


@attrs.frozen
class Answer:
    """The answer to one PKIOperation.

    `outcome` is issued, pending, rejected, unavailable or malformed; `reason` is a `Reason` value or the cause of
    unavailability; `detail` is for the log only. `again` marks an answer that was given before (recalled).
    """

    body: bytes
    outcome: str
    status: int = 200
    content_type: str = PKI_MESSAGE_TYPE
    reason: str = ""
    detail: str = ""
    fail_info: str = ""
    message_type: str = ""
    transaction_id: str = ""
    subject: str = ""
    retry_after: int | None = None  # seconds
    again: bool = False
    legacy: tuple[str, ...] = ()  # the profile's switches that the request needed
