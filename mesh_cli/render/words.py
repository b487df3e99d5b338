"""Every fact in a few words, not yet safe for a terminal. Pure."""

from typing import assert_never

from mesh import events as e
from mesh.outcomes import how_it_ended, reason_words
from mesh.text import needed_places, plain_number, short, signed_number


def say(event: e.AnyEvent) -> str:
    """Return a fact in a few words."""
    match event:
        case e.ArenaOpened():
            return f"opened version {event.version} of {event.spec.name}: {event.spec.summary}"
        case e.ArenaClosed():
            return f"closed the arena ({event.reason}) {event.text}"
        case e.AgentJoined():
            return f"joined as {event.role}"
        case e.WorkerJoined():
            return f"joined with {event.slots} slots on {event.worker_class} ({event.device}), sandbox {event.tier}"
        case e.AgentLeft() | e.WorkerLeft():
            return f"left ({event.reason})"
        case e.ProposalPosted():
            return f"proposes {short(event.tree)} {event.title}"
        case e.CommitPushed():
            return f"pushes commit {short(event.commit)} {event.message.partition(chr(10))[0]}"
        case e.CritiquePosted():
            return f"{event.verdict}s {short(event.target)}: {event.text}"
        case e.RunRequested():
            return f"requests {event.run}{_special(event)}"
        case e.RunStarted():
            return f"starts {event.run} (attempt {event.attempt})"
        case e.RunKilled():
            return f"kills {event.run} ({event.by}) {event.text}"
        case e.RunFinished():
            return f"finished {event.run}: {_outcome(event.outcome)} in {event.trial_s + event.score_s:.1f} s"
        case e.ItemsCompared():
            return f"compares the items of {event.run} with those of {event.over}: {_difference(event)}"
        case e.ProposalPromoted():
            mean = plain_number(event.mean, needed_places([], event.low, event.high))
            return f"promotes {short(event.proposal)} with {mean}: champion of round {event.round}"
        case e.ProposalRetired():
            return f"retires {short(event.proposal)} ({reason_words(event.why)}) {event.text}"
        case e.HoldoutOpened():
            return f"opens the sealed split for {short(event.proposal)} (look {event.look})"
        case e.NotePosted():
            reply = f" (to {event.reply_to})" if event.reply_to else ""
            return f"#{event.channel}{reply}: {event.text}"
        case e.ModelAsked():
            return f"failed call of {event.model} to {event.purpose}: {event.text}"
        case e.BudgetGranted():
            return f"grants budget {event.n}"
        case e.ChannelOpened():
            return f"opens channel #{event.name}: {event.description}"
        case e.MemberInvited():
            return f"invites {event.uses} members ({event.role})"
        case e.MemberAdmitted():
            return f"admits {event.shown_as} ({event.role})"
        case e.MemberRevoked():
            return f"revokes {event.name}: {event.reason}"
        case _:
            assert_never(event)


def _special(event: e.RunRequested) -> str:
    """Return what is special about a request, as the end of its words."""
    if event.audit:
        return f" to check {event.audit.run}, a score of {event.audit.worker}"
    return f" in place of {event.instead_of}" if event.instead_of else ""


def _outcome(outcome: e.Scored | e.Failed) -> str:
    if isinstance(outcome, e.Scored):
        return f"{plain_number(outcome.value)}{' (self-reported)' if outcome.self_reported else ''}"
    if isinstance(outcome, e.Infeasible):
        return f"infeasible ({plain_number(outcome.value)}): {outcome.message}"
    if isinstance(outcome, e.ScreenedOut):
        return outcome.message
    ended = how_it_ended(outcome)
    return ended if outcome.reason == "killed" else f"{ended}: {outcome.message}"


def _difference(event: e.ItemsCompared) -> str:
    if event.difference is None or event.error is None:
        return event.text or "nothing is known of their difference"
    return f"{signed_number(event.difference)} ± {plain_number(event.error)}" + (
        "" if event.common else ", as they have none in common"
    )
