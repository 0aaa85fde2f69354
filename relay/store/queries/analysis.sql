-- Views for analysis with SQL (relay/store/analysis.py), in the dialect of DuckDB. `raw` is made first.

-- name: raw
-- The records themselves, one a row. What is no event is left out: a line that was cut, an empty one.
CREATE VIEW raw AS
SELECT json AS event FROM read_ndjson_objects(
    getvariable('sources'), ignore_errors = true, maximum_object_size = 4194304
)
WHERE json IS NOT NULL AND json_type(json) = 'OBJECT' AND (json ->> '$.eventType') IS NOT NULL

-- name: nothing
-- The same without any file.
CREATE VIEW raw AS SELECT CAST(NULL AS JSON) AS event WHERE false

-- name: ses
-- One row an event, with the columns of the walk-through (ANALYT-002, ANALYT-003).
CREATE VIEW ses AS
SELECT
    event ->> '$.mail.messageId' AS message_id,
    event ->> '$.eventType' AS event_type,
    event ->> '$.mail.sendingAccountId' AS sending_account_id,
    event ->> '$.mail.timestamp' AS timestamp,
    array_to_string(from_json(event -> '$.mail.destination', '["VARCHAR"]'), ', ') AS destination,
    array_to_string(from_json(event -> '$.mail.tags."ses:configuration-set"', '["VARCHAR"]'), ', ') AS configuration_set,
    array_to_string(from_json(event -> '$.mail.tags.campaign', '["VARCHAR"]'), ', ') AS campaign
FROM raw

-- name: events
-- One row an event, with names that need no quoting where those of the record would (ANALYT-007), and the record.
CREATE VIEW events AS
SELECT
    event ->> '$.eventType' AS "eventType",
    TRY_CAST(event ->> '$.mail.timestamp' AS TIMESTAMPTZ) AS ses_timestamp,
    event ->> '$.mail.messageId' AS "messageId",
    event ->> '$.mail.source' AS source,
    event ->> '$.mail.sendingAccountId' AS "sendingAccountId",
    array_to_string(from_json(event -> '$.mail.destination', '["VARCHAR"]'), ', ') AS destination,
    array_to_string(from_json(event -> '$.mail.commonHeaders.from', '["VARCHAR"]'), ', ') AS ses_from,
    array_to_string(from_json(event -> '$.mail.commonHeaders.to', '["VARCHAR"]'), ', ') AS ses_to,
    event ->> '$.mail.commonHeaders.subject' AS subject,
    event ->> '$.mail.tags."ses:configuration-set"[0]' AS ses_configuration_set,
    event ->> '$.mail.tags."ses:from-domain"[0]' AS ses_from_domain,
    event ->> '$.mail.tags."ses:source-ip"[0]' AS ses_source_ip,
    event ->> '$.mail.tags."ses:outgoing-ip"[0]' AS ses_outgoing_ip,
    event ->> '$.mail.tags."ses:caller-identity"[0]' AS ses_caller_identity,
    event -> '$.mail.tags' AS tags,
    event
FROM raw

-- name: of_kind
-- What the tables of the types begin with; `part` is the object that has the type's name.
CREATE VIEW of_kind AS
SELECT
    event ->> '$.eventType' AS event_type,
    event ->> '$.mail.messageId' AS message_id,
    event ->> '$.mail.sendingAccountId' AS sending_account_id,
    event ->> '$.mail.tags."ses:configuration-set"[0]' AS configuration_set,
    event ->> '$.mail.tags.campaign[0]' AS campaign,
    event ->> '$.mail.source' AS source,
    TRY_CAST(event ->> '$.mail.timestamp' AS TIMESTAMPTZ) AS sent_at,
    from_json(event -> '$.mail.destination', '["VARCHAR"]') AS destination,
    event
FROM raw

-- name: send
-- Send: one row a recipient.
CREATE VIEW send AS
SELECT of_kind.* EXCLUDE (event_type, destination, event), unnest(destination) AS recipient
FROM of_kind WHERE event_type = 'Send'

-- name: delivery
-- Delivery: one row a recipient.
CREATE VIEW delivery AS
SELECT
    of_kind.* EXCLUDE (event_type, destination, event),
    unnest(from_json(event -> '$.delivery.recipients', '["VARCHAR"]')) AS recipient,
    TRY_CAST(event ->> '$.delivery.timestamp' AS TIMESTAMPTZ) AS at,
    CAST(event ->> '$.delivery.processingTimeMillis' AS BIGINT) AS processing_time_millis,
    event ->> '$.delivery.smtpResponse' AS smtp_response,
    event ->> '$.delivery.reportingMTA' AS reporting_mta
FROM of_kind WHERE event_type = 'Delivery'

-- name: bounce
-- Bounce: one row a recipient.
CREATE VIEW bounce AS
SELECT
    one.* EXCLUDE (event_type, destination, event, each),
    each ->> '$.emailAddress' AS recipient,
    TRY_CAST(event ->> '$.bounce.timestamp' AS TIMESTAMPTZ) AS at,
    event ->> '$.bounce.bounceType' AS bounce_type,
    event ->> '$.bounce.bounceSubType' AS bounce_sub_type,
    each ->> '$.status' AS status,
    each ->> '$.diagnosticCode' AS diagnostic_code,
    event ->> '$.bounce.reportingMTA' AS reporting_mta,
    event ->> '$.bounce.feedbackId' AS feedback_id
FROM (
    SELECT *, unnest(from_json(event -> '$.bounce.bouncedRecipients', '["JSON"]')) AS each
    FROM of_kind WHERE event_type = 'Bounce'
) AS one

-- name: complaint
-- Complaint: one row a recipient.
CREATE VIEW complaint AS
SELECT
    one.* EXCLUDE (event_type, destination, event, each),
    each ->> '$.emailAddress' AS recipient,
    TRY_CAST(event ->> '$.complaint.timestamp' AS TIMESTAMPTZ) AS at,
    event ->> '$.complaint.complaintSubType' AS complaint_sub_type,
    event ->> '$.complaint.complaintFeedbackType' AS complaint_feedback_type,
    event ->> '$.complaint.userAgent' AS user_agent,
    event ->> '$.complaint.feedbackId' AS feedback_id
FROM (
    SELECT *, unnest(from_json(event -> '$.complaint.complainedRecipients', '["JSON"]')) AS each
    FROM of_kind WHERE event_type = 'Complaint'
) AS one

-- name: delivery_delay
-- DeliveryDelay: one row a recipient.
CREATE VIEW delivery_delay AS
SELECT
    one.* EXCLUDE (event_type, destination, event, each),
    each ->> '$.emailAddress' AS recipient,
    TRY_CAST(event ->> '$.deliveryDelay.timestamp' AS TIMESTAMPTZ) AS at,
    event ->> '$.deliveryDelay.delayType' AS delay_type,
    TRY_CAST(event ->> '$.deliveryDelay.expirationTime' AS TIMESTAMPTZ) AS expires_at,
    each ->> '$.status' AS status,
    each ->> '$.diagnosticCode' AS diagnostic_code
FROM (
    SELECT *, unnest(from_json(event -> '$.deliveryDelay.delayedRecipients', '["JSON"]')) AS each
    FROM of_kind WHERE event_type = 'DeliveryDelay'
) AS one

-- name: reject
-- Reject.
CREATE VIEW reject AS
SELECT
    of_kind.* EXCLUDE (event_type, event),
    event ->> '$.reject.reason' AS reason
FROM of_kind WHERE event_type = 'Reject'

-- name: open
-- Open.
CREATE VIEW open AS
SELECT
    of_kind.* EXCLUDE (event_type, event),
    TRY_CAST(event ->> '$.open.timestamp' AS TIMESTAMPTZ) AS at,
    event ->> '$.open.ipAddress' AS ip_address,
    event ->> '$.open.userAgent' AS user_agent
FROM of_kind WHERE event_type = 'Open'

-- name: click
-- Click.
CREATE VIEW click AS
SELECT
    of_kind.* EXCLUDE (event_type, event),
    TRY_CAST(event ->> '$.click.timestamp' AS TIMESTAMPTZ) AS at,
    event ->> '$.click.link' AS link,
    event -> '$.click.linkTags' AS link_tags,
    event ->> '$.click.ipAddress' AS ip_address,
    event ->> '$.click.userAgent' AS user_agent
FROM of_kind WHERE event_type = 'Click'

-- name: rendering_failure
-- Rendering Failure.
CREATE VIEW rendering_failure AS
SELECT
    of_kind.* EXCLUDE (event_type, event),
    event ->> '$.failure.templateName' AS template_name,
    event ->> '$.failure.errorMessage' AS error_message
FROM of_kind WHERE event_type = 'Rendering Failure'

-- name: subscription
-- Subscription.
CREATE VIEW subscription AS
SELECT
    of_kind.* EXCLUDE (event_type, event),
    TRY_CAST(event ->> '$.subscription.timestamp' AS TIMESTAMPTZ) AS at,
    event ->> '$.subscription.contactList' AS contact_list,
    event ->> '$.subscription.source' AS subscription_source
FROM of_kind WHERE event_type = 'Subscription'
