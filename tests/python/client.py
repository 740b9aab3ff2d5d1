"""An operator's client of Cutover, as internal tooling would write it: nothing but the stubs of the .proto files."""

import getpass
import itertools
import os
import time

import grpc
from cutover.v1 import fleet_pb2_grpc, plan_pb2, status_pb2, upgrades_pb2, upgrades_pb2_grpc
from google.rpc import error_details_pb2, status_pb2 as rpc_status_pb2

ENDED = {
    status_pb2.STATE_COMPLETED,
    status_pb2.STATE_ABORTED,
    status_pb2.STATE_ROLLED_BACK,
    status_pb2.STATE_TAKEN_OVER,
}


class Refused(Exception):
    """The API said no: `code` is gRPC's, `reason` is Cutover's stable one."""

    def __init__(self, error):
        super().__init__(error.details())
        self.code = error.code()
        self.reason, self.metadata = None, {}
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self._read(rpc_status_pb2.Status.FromString(value))

    def _read(self, status):
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == "cutover":
                self.reason, self.metadata = info.reason, dict(info.metadata)


class Client:
    """Calls of one operator. A call that changes something takes a new request id, unless it repeats one."""

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint)
        self.upgrades = upgrades_pb2_grpc.UpgradesStub(self.channel)
        self.fleet = fleet_pb2_grpc.FleetStub(self.channel)
        self._requests = itertools.count(1)

    def call(self, method, request):
        """One call; a refusal is raised as such."""
        try:
            return method(request, timeout=30)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def said_by(self, request_id=None):
        """The fields of a call that changes something."""
        request_id = request_id or f"python-{os.getpid()}-{next(self._requests)}"
        return {"operator": f"{getpass.getuser()}-python", "request_id": request_id}

    def plan(self, deployment, target, **more):
        request = upgrades_pb2.MakePlanRequest(deployment=deployment, target=target, **self.said_by())
        return self.call(self.upgrades.MakePlan, _with(request, more))

    def plan_when_ready(self, deployment, target, within=60):
        """A plan as soon as every agent of the deployment is there and its instances answer."""
        until = time.monotonic() + within
        while True:
            try:
                return self.plan(deployment, target)
            except Refused as refused:
                if refused.reason not in {"AGENT_NOT_SEEN", "NO_SUCH_DEPLOYMENT", "BLOCKED"} or time.monotonic() > until:
                    raise
            time.sleep(0.05)

    def approve(self, plan, request_id=None, **what):
        request = upgrades_pb2.ApproveRequest(plan=plan.digest, **self.said_by(request_id), **what)
        return self.call(self.upgrades.Approve, request)

    def start(self, plan, request_id=None):
        request = upgrades_pb2.StartRequest(plan=plan.digest, **self.said_by(request_id))
        return self.call(self.upgrades.Start, request).upgrade

    def status(self, upgrade):
        return self.call(self.upgrades.Get, upgrades_pb2.GetUpgradeRequest(upgrade=upgrade))

    def watch(self, upgrade, after_seq=0):
        """Every event after that one; going on with another call where this one is broken off is up to the caller."""
        request = upgrades_pb2.WatchRequest(upgrade=upgrade, after_seq=after_seq)
        call = self.upgrades.Watch(request, timeout=120)
        try:
            yield from call
        except grpc.RpcError as error:
            raise Refused(error) from None
        finally:
            call.cancel()

    def decide(self, upgrade, hold, choice, request_id=None):
        request = upgrades_pb2.DecideRequest(
            upgrade=upgrade, hold=hold, choice=choice, reason="we looked", **self.said_by(request_id)
        )
        return self.call(self.upgrades.Decide, request)

    def abort(self, upgrade, what_if=False):
        request = upgrades_pb2.GoBackRequest(upgrade=upgrade, reason="not tonight", what_if=what_if, **self.said_by())
        return self.call(self.upgrades.Abort, request)

    def close(self, upgrade):
        request = upgrades_pb2.SteerRequest(upgrade=upgrade, reason="done", **self.said_by())
        return self.call(self.upgrades.Close, request)


def to_approve(plan):
    """The findings of a plan that a person must agree to, by their names."""
    return [
        upgrades_pb2.FindingName(code=finding.code, subject=finding.subject)
        for finding in plan.observed.findings
        if finding.level == plan_pb2.LEVEL_APPROVE
    ]


def _with(request, more):
    for name, value in more.items():
        setattr(request, name, value)
    return request
