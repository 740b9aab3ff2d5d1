"""What a foreign client does with a real coordinator. Says in JSON on stdout what it saw; fails by an exception.

usage: scenarios.py SCENARIO ENDPOINT FOLDER
The stubs are made in FOLDER.
"""

import contextlib
import itertools
import json
import sys

import stubs

scenario, endpoint, folder = sys.argv[1:]
stubs.make(folder)

import grpc
from client import ENDED, Client, Refused, to_approve
from cutover.v1 import fleet_pb2, plan_pb2, status_pb2, upgrades_pb2
from google.protobuf import descriptor_pb2
from grpc.health.v1 import health_pb2, health_pb2_grpc
from grpc.reflection.v1 import reflection_pb2, reflection_pb2_grpc


@contextlib.contextmanager
def refused(code, reason, **metadata):
    """That a call is refused so, with a remedy and at least these particulars."""
    try:
        yield
    except Refused as no:
        assert (no.code, no.reason) == (code, reason), (no.code, no.reason, no)
        assert no.metadata["remedy"], no.metadata
        for name, value in metadata.items():
            assert value in no.metadata[name], (name, value, no.metadata)
    else:
        raise AssertionError(f"not refused: {reason} was expected")


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION, EXISTS = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ALREADY_EXISTS


def health_and_reflection(client):
    health = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", "cutover.v1.Upgrades", "cutover.v1.Fleet", "cutover.v1.AgentLink"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, (service, answer)

    def ask(**what):
        reflection = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        return next(reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**what)]), timeout=30))

    services = {service.name for service in ask(list_services="").list_services_response.service}
    ours = {"cutover.v1.Upgrades", "cutover.v1.Fleet", "cutover.v1.AgentLink"}
    assert services >= ours | {"grpc.health.v1.Health"}, services
    for stub in (upgrades_pb2, fleet_pb2):
        for name, service in stub.DESCRIPTOR.services_by_name.items():
            answer = ask(file_containing_symbol=f"cutover.v1.{name}").file_descriptor_response
            files = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in answer.file_descriptor_proto]
            told = next(one for file in files for one in file.service if one.name == name)
            assert {method.name for method in told.method} == set(service.methods_by_name), told


def requests_that_are_refused(client):
    with refused(INVALID, "INVALID_ARGUMENT", field="operator"):
        client.plan("prod", "1.4.6", operator="")
    with refused(INVALID, "INVALID_ARGUMENT", field="target"):
        client.plan("prod", "one.four")
    with refused(INVALID, "INVALID_ARGUMENT", field="wave"):
        client.plan("prod", "1.4.6", wave=0)
    with refused(NOT_FOUND, "NO_SUCH_DEPLOYMENT"):
        client.plan("prodd", "1.4.6")
    with refused(NOT_FOUND, "NO_SUCH_PLAN"):
        client.call(client.upgrades.GetPlan, upgrades_pb2.GetPlanRequest(digest="0" * 64))
    with refused(NOT_FOUND, "NO_SUCH_UPGRADE"):
        client.status("prod-99")
    with refused(NOT_FOUND, "NO_SUCH_UPGRADE"):
        next(client.watch("prod-99"))
    with refused(INVALID, "INVALID_ARGUMENT"):
        client.call(client.channel.unary_unary("/cutover.v1.Upgrades/Get"), b"no message of protobuf")


def approval(client, plan):
    """Agrees to every finding by its name, and answers every question."""
    findings, questions = to_approve(plan), plan.binding.questions
    assert findings and questions, plan
    for finding in findings:
        with refused(PRECONDITION, "NEEDS_APPROVAL", findings=finding.code):
            client.start(plan)
    with refused(INVALID, "INVALID_ARGUMENT", field="findings"):
        client.approve(plan, reason="an empty list is no consent")
    with refused(INVALID, "INVALID_ARGUMENT", field="findings"):
        stranger = upgrades_pb2.FindingName(code="no-such-finding", subject=findings[0].subject)
        client.approve(plan, findings=[stranger])
    with refused(INVALID, "INVALID_ARGUMENT", field="answers"):
        client.approve(plan, all=True, answers={"no-such-question": "yes"})
    client.approve(plan, findings=findings, reason="the owner agreed")
    with refused(PRECONDITION, "NEEDS_APPROVAL"):
        client.start(plan)

    request_id, answers = "python-answers", {id: f"seen to: {question}" for id, question in questions.items()}
    given = client.approve(plan, request_id, findings=findings, reason="asked the net team", answers=answers)
    again = client.approve(plan, request_id, findings=findings, reason="asked the net team", answers=answers)
    assert given == again and dict(given.answers) == answers, given
    assert {finding.code for finding in given.findings} == {finding.code for finding in findings}, given
    with refused(EXISTS, "REQUEST_REUSED"):
        client.approve(plan, request_id, findings=findings, reason="another question", answers=answers)


def in_order(events, after=0):
    """Events, each the one after the former, with its fact in JSON beside the typed fields."""
    for event in events:
        assert event.seq == after + 1, (event.seq, after)
        assert json.loads(event.fact_json)["seq"] == event.seq and event.text and event.at.seconds, event
        after = event.seq
        yield event


def whole_upgrade(client):
    """Plans, approves, starts, watches to the end of the stream."""
    plan = client.plan_when_ready("prod", "1.4.6")
    health_and_reflection(client)
    requests_that_are_refused(client)
    assert client.call(client.fleet.GetLeader, fleet_pb2.GetLeaderRequest()).leading
    short = client.call(client.upgrades.GetPlan, upgrades_pb2.GetPlanRequest(digest=plan.digest[:8]))
    assert short == plan and plan.binding.strategy == plan_pb2.STRATEGY_DOWNTIME
    approval(client, plan)
    request_id = "python-start"
    upgrade = client.start(plan, request_id)
    assert client.start(plan, request_id) == upgrade
    with refused(PRECONDITION, "DEPLOYMENT_BUSY", upgrade=upgrade):
        client.plan("prod", "1.4.6")
    with refused(PRECONDITION, "UPGRADE_ACTIVE", upgrade=upgrade):
        client.close(upgrade)

    # It leaves in the middle, and goes on with the last number it saw.
    seen = list(itertools.islice(in_order(client.watch(upgrade)), 5))
    for event in in_order(client.watch(upgrade, seen[-1].seq), seen[-1].seq):
        seen.append(event)
        if event.kind == "ended":
            assert event.status.state == status_pb2.STATE_COMPLETED, event.status
            client.close(upgrade)
    assert seen[-1].kind == "closed", "the stream ends after the last fact"
    status = client.status(upgrade)
    assert status.state in ENDED and status.seq == seen[-1].seq and status.HasField("closed"), status
    with refused(PRECONDITION, "UPGRADE_ENDED", upgrade=upgrade):
        client.abort(upgrade)
    return upgrade, seen


def decided_holds(client):
    """An instance does not stop: a person has it tried again, and then goes back."""
    plan = client.plan_when_ready("prod", "1.4.6")
    client.approve(plan, all=True, reason="the owner agreed")
    upgrade = client.start(plan)
    with refused(NOT_FOUND, "NO_SUCH_HOLD", upgrade=upgrade):
        client.decide(upgrade, 1, status_pb2.CHOICE_WAIT)
    seen, holds = [], []
    for event in in_order(client.watch(upgrade)):
        seen.append(event)
        if event.kind == "held":
            holds.append(client.status(upgrade).holds[0])
            if len(holds) == 1:
                choices_that_are_refused(client, upgrade, holds[0])
                for _ in range(2):
                    client.decide(upgrade, holds[0].id, status_pb2.CHOICE_RETRY, "python-retry")
            else:
                with refused(PRECONDITION, "HOLD_OUTDATED", holds=str(holds[1].id)):
                    client.decide(upgrade, holds[0].id, status_pb2.CHOICE_ABORT)
                client.decide(upgrade, holds[1].id, status_pb2.CHOICE_ABORT)
        if event.kind == "ended":
            break
    assert len(holds) == 2 and client.status(upgrade).state == status_pb2.STATE_ABORTED, holds
    return upgrade, seen


def choices_that_are_refused(client, upgrade, hold):
    choices = {offer.choice for offer in hold.choices}
    # To go on without it is not offered while it runs.
    assert choices == {status_pb2.CHOICE_RETRY, status_pb2.CHOICE_ABORT}, hold
    assert all(offer.cost for offer in hold.choices), hold
    assert hold.reason.code == "unclean-stop" and hold.reason.fields["instance"] == "ledger-a", hold
    meant = client.abort(upgrade, what_if=True)
    assert meant.allowed and meant.meaning and not meant.begun and not meant.ledgers, meant
    with refused(PRECONDITION, "CHOICE_NOT_OFFERED", choices="abort"):
        client.decide(upgrade, hold.id, status_pb2.CHOICE_ROLLBACK)
    with refused(INVALID, "INVALID_ARGUMENT", field="choice"):
        client.decide(upgrade, hold.id, status_pb2.CHOICE_UNSPECIFIED)


upgrade, seen = {"whole-upgrade": whole_upgrade, "decided-holds": decided_holds}[scenario](Client(endpoint))
facts = [json.loads(event.fact_json) for event in seen]
json.dump({"upgrade": upgrade, "facts": facts}, sys.stdout)
