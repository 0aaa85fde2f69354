"""Suppression lists from outside: what receivers say fills them, and what is on them is not written to."""

import json
import os
import signal
import smtplib
import subprocess
import time

import pytest

from tests.product import RELAY, Product, Receiver, eventually

B, SANDBOXED = "000000000002", "000000000003"
REPLIES = {
    "gone": "550 5.1.1 no such user",
    "closed": "550 5.2.1 mailbox is disabled",
    "listed": "550 5.7.1 your address is blocked by our block list",
    "spam": "554 5.7.1 this looks like spam",
    "policy": "550 5.7.26 this mail is not authenticated",
    "full": "552 5.2.2 mailbox full",
}


def answer(verb, line):
    local = line.split("<")[-1].split("@")[0].split(".")[0].lower() if verb == "RCPT" else ""
    return REPLIES.get(local)


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    delivery = {"retry": ["1s"], "lifetime": "1s"}
    with Product(receiver.port, workers=2, delivery=delivery, suppression=True) as made:
        made.run("account", "create", B, "--production")
        made.run("identity", "create", "b.example", "--account", B)
        made.run("identity", "verify", "b.example", "--force", "--account", B)
        made.run("suppression", "settings", "--reasons", "none", "--account", B)
        made.run("configuration-set", "create", "complaints", "--suppressed-reasons", "COMPLAINT")
        made.run("configuration-set", "create", "nothing", "--suppressed-reasons", "none")
        made.run("configuration-set", "create", "bounces", "--suppressed-reasons", "BOUNCE", "--account", B)
        made.login = made.json("credentials", "create", "--account", B)["smtp"]
        yield made


def send(product, recipient, name=""):
    headers = f"X-SES-CONFIGURATION-SET: {name}\r\n" if name else ""
    return product.send(recipient, headers=headers)


def send_as_b(product, *recipients, name=""):
    """Submit as the other account, which uses no list of its own, and return the message id."""
    headers = f"X-SES-CONFIGURATION-SET: {name}\r\n" if name else ""
    with smtplib.SMTP("127.0.0.1", product.port, timeout=30) as client:
        client.starttls()
        client.login(product.login["username"], product.login["password"])
        client.mail("app@b.example")
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(f"From: app@b.example\r\n{headers}\r\nhi\r\n".encode())
        assert code == 250, text
        return text.decode().split()[-1]


def end_of(product, message_id):
    """Wait for the one event that ends a message with one recipient; return its kind and subtype."""
    (event,) = ends_of(product, message_id, 1)
    body = event.get("bounce") or event.get("complaint") or {}
    return event["eventType"], body.get("bounceSubType") or body.get("complaintSubType")


def ends_of(product, message_id, count):
    def found():
        ends = [e for e in product.events() if e["eventType"] in ("Delivery", "Bounce", "Complaint")]
        mine = [e for e in ends if e["mail"]["messageId"] == message_id]
        return mine if len(mine) >= count else None

    return eventually(found, what=f"the end of {message_id}")


def entry(product, address, account="000000000001"):
    done = product.run("suppression", "show", address, "--account", account, "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def relay_wide(product, address):
    return product.json("suppression", "relay-wide", "check", address)


LISTED = ("Bounce", "OnAccountSuppressionList")
BY_RELAY = ("Bounce", "Suppressed")


@pytest.mark.req("SUPP-002", "SUPP-009", "SUPP-010", "SUPP-014", "SUPP-016", "SUPP-018")
def test_a_hard_bounce_stops_the_next_message_and_says_why(product, receiver):
    address = "Gone.First@remote.example"
    message_id = send(product, address)
    assert end_of(product, message_id) == ("Bounce", "NoEmail")
    found = eventually(lambda: entry(product, address.upper()), what="the entry")
    assert (found["emailAddress"], found["reason"]) == (address, "BOUNCE")
    (event,) = ends_of(product, message_id, 1)
    assert found["attributes"] == {"messageId": message_id, "feedbackId": event["bounce"]["feedbackId"]}
    assert found["report"]["bounce"] == event["bounce"]
    assert relay_wide(product, address)["days"] == 1
    connections = receiver.connections
    for variant in (address, "gone.first@REMOTE.example", *[address] * 4):  # both workers see it
        assert end_of(product, send(product, variant)) == LISTED
    assert receiver.connections == connections
    assert relay_wide(product, address)["days"] == 1  # what a list stopped is no bounce of the address
    product.run("suppression", "remove", address.lower())
    assert end_of(product, send(product, address)) == ("Bounce", "NoEmail")  # it is tried again


@pytest.mark.req("SUPP-002")
@pytest.mark.parametrize("local", ["listed", "spam", "policy", "full"])
def test_what_is_not_the_recipients_fault_suppresses_nobody(product, local):
    address, marker = f"{local}.one@remote.example", f"gone.after-{local}@remote.example"
    first = send(product, address)
    assert end_of(product, first)[0] == "Bounce"
    end_of(product, send(product, marker))
    eventually(lambda: relay_wide(product, marker)["listed"])
    # Events of two shards are applied side by side: what is not listed now must not become it by a second bounce.
    assert end_of(product, send(product, address))[1] not in ("OnAccountSuppressionList", "Suppressed")
    assert entry(product, address) is None
    assert relay_wide(product, address) == {"emailAddress": address, "listed": False}


@pytest.mark.req("SUPP-001", "SUPP-004", "SUPP-005", "SUPP-022", "FLOW-015")
def test_the_relays_list_stops_who_uses_no_list_of_his_own(product, receiver):
    address, fresh = "gone.second@remote.example", "here@remote.example"
    end_of(product, send(product, address))
    eventually(lambda: relay_wide(product, address)["listed"])
    connections = receiver.connections
    message_id = send_as_b(product, address, fresh)
    bounce = next(e for e in ends_of(product, message_id, 2) if e["eventType"] == "Bounce")["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "Suppressed")
    assert [one["emailAddress"] for one in bounce["bouncedRecipients"]] == [address]
    assert receiver.connections <= connections + 1  # for the other recipient
    # The account of the bounce uses its list; taken off that, the address is tried although the relay's list has it.
    product.run("suppression", "remove", address)
    assert end_of(product, send(product, address)) == ("Bounce", "NoEmail")
    eventually(lambda: relay_wide(product, address)["days"] == 2)
    # A set that uses no list leaves the relay's; one that uses some of the account's overrides it.
    assert end_of(product, send(product, address, "nothing")) == BY_RELAY
    assert end_of(product, send_as_b(product, address, name="bounces")) == ("Bounce", "NoEmail")
    product.run("suppression", "relay-wide", "remove", address)
    assert end_of(product, send_as_b(product, address)) == ("Bounce", "NoEmail")
    missing = product.run("suppression", "relay-wide", "remove", "never@remote.example", check=False)
    assert missing.returncode == 64


@pytest.mark.req("SUPP-003")
def test_each_bounce_lengthens_the_stay(product):
    address, days = "closed.often@remote.example", []
    for bounces in range(1, 7):
        assert end_of(product, send(product, address, "complaints"))[0] == "Bounce"
        steps = (1, 2, 4, 8, 14, 14)[bounces - 1]
        before = days[-1] if days else ""
        found = eventually(
            lambda before=before: (f := relay_wide(product, address))["listed"] and f["until"] != before and f,
            what=f"bounce {bounces}",
        )
        assert found["days"] == steps
        days.append(found["until"])
    assert days == sorted(days)


@pytest.mark.req("SUPP-019", "SUPP-020", "SUPP-021")
def test_a_set_says_what_its_mail_adds_and_what_stops_it(product):
    address = "gone.third@remote.example"
    assert end_of(product, send(product, address, "complaints")) == ("Bounce", "NoEmail")
    eventually(lambda: relay_wide(product, address)["listed"])
    assert entry(product, address) is None
    assert end_of(product, send(product, address)) == ("Bounce", "NoEmail")  # without the set the account's list
    eventually(lambda: entry(product, address))
    assert end_of(product, send(product, address)) == LISTED
    assert end_of(product, send(product, address, "complaints")) == ("Bounce", "NoEmail")
    product.run("suppression", "add", address, "--reason", "COMPLAINT")
    assert end_of(product, send(product, address, "complaints")) == ("Complaint", "OnAccountSuppressionList")


@pytest.mark.req("SUPP-008")
def test_the_settings_of_an_account(product):
    assert product.json("suppression", "settings", "--account", B)["suppressedReasons"] == []
    assert product.json("account", "show", B)["suppressedReasons"] == []
    product.run("suppression", "add", "stop@remote.example", "--account", B)
    assert end_of(product, send_as_b(product, "stop@remote.example"))[0] == "Delivery"
    try:
        changed = product.json("suppression", "settings", "--reasons", "complaint,BOUNCE", "--account", B)
        assert changed == {
            "account": B,
            "suppressedReasons": ["BOUNCE", "COMPLAINT"],
            "addresses": changed["addresses"],
        }
        assert end_of(product, send_as_b(product, "stop@remote.example")) == LISTED
        product.run("suppression", "settings", "--reasons", "COMPLAINT", "--account", B)
        assert end_of(product, send_as_b(product, "stop@remote.example"))[0] == "Delivery"
    finally:
        product.run("suppression", "settings", "--reasons", "none", "--account", B)
    assert product.run("suppression", "settings", "--reasons", "SPITE", check=False).returncode == 64


@pytest.mark.req("SUPP-004", "SUPP-010", "FLOW-015")
def test_suppressed_recipients_count_against_the_daily_quota(receiver):
    with Product(receiver.port, suppression=True) as product:
        product.run("suppression", "add", "stop@remote.example")
        product.run("configuration-set", "create", "nothing", "--suppressed-reasons", "none")
        end_of(product, send(product, "gone.x@remote.example"))
        eventually(lambda: relay_wide(product, "gone.x@remote.example")["listed"])
        product.run("quota", "set", "--daily", "3", "--rate", "-1")
        assert end_of(product, send(product, "stop@remote.example")) == LISTED
        assert end_of(product, send(product, "gone.x@remote.example", "nothing")) == BY_RELAY
        with product.client() as client, pytest.raises(smtplib.SMTPDataError, match="Daily message quota"):
            client.sendmail("app@example.com", ["u@remote.example"], "From: app@example.com\r\n\r\nhi\r\n")


@pytest.mark.req("SUPP-013")
def test_in_the_sandbox_feedback_fills_the_list_and_nobody_else(product, tmp_path):
    product.run("account", "create", SANDBOXED, "--sandbox")
    own = ("--account", SANDBOXED)
    assert product.json("suppression", "settings", "--reasons", "BOUNCE", *own)["suppressedReasons"] == ["BOUNCE"]
    (tmp_path / "list.csv").write_text("a@x.example,BOUNCE\n")
    for command in (["add", "a@x.example"], ["import", str(tmp_path / "list.csv")]):
        refused = product.run("suppression", *command, *own, check=False)
        assert (refused.returncode, "sandbox" in refused.stderr) == (64, True)
    assert product.rows("suppression", "list", *own) == []


@pytest.mark.req("SUPP-015")
def test_a_list_is_filtered_and_paged(product):
    addresses = [f"page{number}@pages.example" for number in range(4)]
    product.run("suppression", "add", *addresses[:2], "--reason", "COMPLAINT", "--account", B)
    middle = time.time()
    product.run("suppression", "add", *addresses[2:], "--account", B)

    def listed(*choice):
        rows = product.rows("suppression", "list", "--account", B, *choice)
        return [row["emailAddress"] for row in rows if row["emailAddress"] in addresses]

    def utc(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"

    assert listed() == addresses
    assert listed("--reason", "complaint") == addresses[:2]
    assert listed("--since", utc(middle)) == addresses[2:]
    assert listed("--until", utc(middle)) == addresses[:2]
    assert listed("--after", addresses[0], "--limit", "2") == addresses[1:3]
    (row,) = product.rows("suppression", "list", "--account", B, "--after", addresses[2], "--limit", "1")
    assert set(row) == {"emailAddress", "reason", "updated"}


@pytest.mark.req("SUPP-006")
def test_the_simulator_enters_no_list(product):
    address, marker = "bounce@simulator.relay.example", "gone.marker@remote.example"
    assert end_of(product, send(product, address)) == ("Bounce", "General")
    ends_of(product, send(product, "complaint@simulator.relay.example"), 2)  # delivered, and complained about
    end_of(product, send(product, marker))
    eventually(lambda: entry(product, marker))
    assert end_of(product, send(product, address)) == ("Bounce", "General")
    kinds = {event["eventType"] for event in ends_of(product, send(product, "complaint@simulator.relay.example"), 2)}
    assert kinds == {"Delivery", "Complaint"}
    assert not relay_wide(product, address)["listed"]
    refused = product.run("suppression", "add", address, check=False)
    assert (refused.returncode, "simulator" in refused.stderr) == (64, True)


# --- reports that come by mail -----------------------------------------------------------------------------------

DSN = (
    "From: MAILER-DAEMON@remote.example\r\nTo: {path}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n"
    "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.remote.example\r\n\r\n"
    "Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n"
)
ARF = (
    "From: <fbl@provider.example>\r\nTo: <fbl@relay.example>\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
    "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
    "Feedback-Type: {kind}\r\nUser-Agent: Loop/2.0\r\nVersion: 1\r\n\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\n"
    "From: app@example.com\r\nMessage-ID: <{message_id}@relay.example>\r\nSubject: A test\r\n\r\nHello\r\n"
    "\r\n--b--\r\n"
)


def report(product, to, text):
    with smtplib.SMTP("127.0.0.1", product.mx_port) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt(to)[0] == 250
        assert client.data(text.encode())[0] == 250


def complain(product, message_id, kind="abuse"):
    report(product, "fbl@relay.example", ARF.format(message_id=message_id, kind=kind))


@pytest.mark.req("SUPP-002", "SUPP-009")
def test_a_bounce_that_comes_back_later_counts_too(product, receiver):
    address = "left@remote.example"
    assert end_of(product, send(product, address))[0] == "Delivery"
    (path,) = [sender for sender, to, _ in receiver.messages if to == [address]]
    report(product, path, DSN.format(path=path, recipient=address))
    assert eventually(lambda: entry(product, address))["reason"] == "BOUNCE"
    assert relay_wide(product, address)["listed"]
    assert end_of(product, send(product, address)) == LISTED


@pytest.mark.req("SUPP-009", "SUPP-010", "SUPP-016")
def test_a_complaint_stops_the_next_message(product):
    address = "angry@remote.example"
    message_id = send(product, address)
    assert end_of(product, message_id)[0] == "Delivery"
    complain(product, message_id, "not-spam")  # that says nothing against the mail
    complain(product, message_id)
    found = eventually(lambda: entry(product, address))
    assert (found["reason"], found["attributes"]["messageId"]) == ("COMPLAINT", message_id)
    assert found["report"]["complaint"]["complaintFeedbackType"] == "abuse"
    assert relay_wide(product, address)["listed"]
    assert end_of(product, send(product, address)) == ("Complaint", "OnAccountSuppressionList")


@pytest.mark.req("SUPP-017")
def test_a_complaint_of_nobody_in_particular_adds_nobody(product):
    several = ["one@several.example", "two@several.example"]
    message_id = product.send(several)
    ends_of(product, message_id, 2)
    complain(product, message_id)
    complaint = next(e for e in ends_of(product, message_id, 3) if e["eventType"] == "Complaint")["complaint"]
    assert len(complaint["complainedRecipients"]) == 2
    marker = "gone.after-several@remote.example"
    shard = message_id[:4]
    while end_of(product, begun := send(product, marker)) and begun[:4] != shard:  # events of one shard are in order
        product.run("suppression", "remove", marker, check=False)
    eventually(lambda: (entry(product, marker) or {"attributes": {}})["attributes"].get("messageId") == begun)
    assert [entry(product, address) for address in several] == [None, None]


# --- imports -----------------------------------------------------------------------------------------------------


@pytest.mark.req("SUPP-023", "SUPP-024", "SUPP-026", "SUPP-027")
def test_an_import_is_a_job_that_the_relay_runs(product, tmp_path):
    file = tmp_path / "list.jsonl"
    file.write_text('{"emailAddress": "job@jobs.example", "reason": "COMPLAINT"}\nnonsense\n')
    made = product.json("suppression", "import", str(file), "--background")
    assert made["jobStatus"] == "CREATED"
    file.unlink()  # the job has a copy
    job = eventually(
        lambda: (j := product.json("suppression", "jobs", "show", made["jobId"]))["JobStatus"] == "COMPLETED" and j
    )
    assert job == {
        "JobId": made["jobId"],
        "ImportDestination": {"SuppressionListDestination": {"SuppressionListImportAction": "PUT"}},
        "ImportDataSource": {"S3Url": str(file), "DataFormat": "JSON"},
        "JobStatus": "COMPLETED",
        "CreatedTimestamp": job["CreatedTimestamp"],
        "CompletedTimestamp": job["CompletedTimestamp"],
        "ProcessedRecordsCount": 1,
        "FailedRecordsCount": 1,
        "FailureInfo": {"FailedRecordsS3Url": job["FailureInfo"]["FailedRecordsS3Url"], "ErrorMessage": None},
    }
    assert job["CreatedTimestamp"] <= job["CompletedTimestamp"]
    with open(job["FailureInfo"]["FailedRecordsS3Url"]) as failures:
        assert [json.loads(line)["record"] for line in failures] == ["nonsense"]
    assert end_of(product, send(product, "job@jobs.example")) == ("Complaint", "OnAccountSuppressionList")
    file.write_text("job@jobs.example\n")
    done = product.json("suppression", "import", str(file), "--delete", "--format", "csv")
    assert (done["jobStatus"], done["processed"], done["changed"]) == ("COMPLETED", 1, 1)
    assert end_of(product, send(product, "job@jobs.example"))[0] == "Delivery"
    listed = [one["JobId"] for one in product.rows("suppression", "jobs", "list")]
    assert listed[:2] == [done["jobId"], made["jobId"]]
    assert product.rows("suppression", "jobs", "list", "--account", B) == []
    assert product.run("suppression", "jobs", "show", "nothing", check=False).returncode == 64


def jobs_of_b(product):
    return product.rows("suppression", "jobs", "list", "--account", B)


def begun(product, earlier):
    """Return the job that was not there earlier once some of its rows are on the list."""

    def found():
        jobs = [one for one in jobs_of_b(product) if one["JobId"] not in earlier]
        return next((one for one in jobs if one["ProcessedRecordsCount"] or one["JobStatus"] == "COMPLETED"), None)

    return eventually(found, what="an import that writes")


@pytest.mark.parametrize("victim", ["command", "office"])
def test_an_import_that_was_killed_is_ended_by_the_relay(product, tmp_path, victim):
    file, rows = tmp_path / "large.csv", 60_000
    file.write_text("".join(f"{victim}{n}@kill{n % 50}.example,BOUNCE\n" for n in range(rows)))
    before = product.json("suppression", "settings", "--account", B)["addresses"]
    earlier = {one["JobId"] for one in jobs_of_b(product)}
    command = [*RELAY, "suppression", "import", str(file), "--account", B, "-c", str(product.config)]
    if victim == "command":
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        job = begun(product, earlier)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    else:
        product.run("suppression", "import", str(file), "--account", B, "--background")
        job = begun(product, earlier)
        os.kill(product.children()["relay-office"], signal.SIGKILL)
    ended = eventually(
        lambda: (j := product.json("suppression", "jobs", "show", job["JobId"]))["JobStatus"] == "COMPLETED" and j, 60
    )
    assert (ended["ProcessedRecordsCount"], ended["FailedRecordsCount"]) == (rows, 0)
    assert product.json("suppression", "settings", "--account", B)["addresses"] == before + rows
