"""Who is next: teams take turns, plans go first for a while, and nobody runs more than the plan says."""

from copy import copy
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from credits import plans
from credits.models import Plan
from credits.pricing import Quote
from credits.signals import plan_changed
from generation import bell, slots, sweeper, transitions
from generation.models import Job, TeamSlot
from tests.factories import allow, make_job, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


def claim(images_max=1, *, models=("starter",), **options) -> list[Job]:
    return transitions.claim(worker="w", models=models, images_max=lambda job: images_max, **options)


def draw(images_max=1) -> list[Job]:
    """Claim and end, as a worker that is alone."""
    jobs = claim(images_max)
    for job in jobs:
        transitions.cancel(job)
    return jobs


def slot_of(user, kind="image") -> TeamSlot:
    return TeamSlot.objects.get(team=team_of(user), kind=kind)


def waits(user, seconds: float) -> None:
    """Let a team have waited longer."""
    TeamSlot.objects.filter(team=team_of(user)).update(due_at=F("due_at") - timedelta(seconds=seconds))


@transaction.atomic
def make_training(user, kind=Job.Kind.CREATION) -> Job:
    """What the custom-model pages will submit."""
    quote = Quote(unit_centi=100, count=1, kind=kind)
    job = Job(
        team=team_of(user), user=user, kind=kind, request_key=uuid4().hex, request_fingerprint="x", prompt="a cat",
        expanded_prompt="a cat", model="starter", width=256, height=256, quality="standard", count=1, seed=1,
        num_inference_steps=1, guidance_scale=0, quote=quote.as_dict(),
    )  # fmt: skip
    transitions.submit(job, quote, plans.limits_of(job.team_id))
    return job


def test_a_flood_of_one_team_lets_another_have_its_turn():
    flooder, other = make_user(credits=1000), make_user(credits=100)
    flood = [make_job(flooder) for _ in range(6)]
    assert draw() == flood[:1]
    first, second = make_job(other), make_job(other)
    order = [job for _ in range(7) for job in draw()]
    assert order == [first, flood[1], second, *flood[2:]]


def test_behind_a_flood_and_a_batch_claimed_ahead_nobody_waits_more_than_two_job_times():
    flooder, other = make_user(credits=1000), make_user(credits=100)
    allow(flooder, 3)
    for _ in range(6):
        make_job(flooder)
    (drawing,), (ahead,) = claim(), claim()
    job = make_job(other)  # the worst moment: the device has just begun, and the next batch is claimed
    transitions.cancel(drawing)  # one job time later
    assert claim() == [job]
    transitions.cancel(ahead)  # two job times later it is drawn


def test_a_plan_with_priority_goes_first_until_the_others_have_waited_longer(settings):
    settings.QUEUE_AGEING_SECONDS = 6
    free, pro = make_user(credits=1000), make_user(credits=1000)
    allow(free, 1), allow(pro, 1, queue_priority=20)
    patient, favoured = make_job(free), [make_job(pro) for _ in range(3)]
    assert draw() == favoured[:1]
    waits(free, 20 * 6 - 61)  # it stood in line with the 60 s of a team that was not served lately
    assert draw() == favoured[1:2]
    waits(free, 2)
    assert draw() == [patient]
    assert draw() == favoured[2:]


def test_without_ageing_the_same_wait_changes_nothing(settings):
    """The twin: with points that nobody can wait long enough for, the plan always wins."""
    settings.QUEUE_AGEING_SECONDS = 10**7
    free, pro = make_user(credits=1000), make_user(credits=1000)
    allow(free, 1), allow(pro, 1, queue_priority=20)
    make_job(free)
    favoured = [make_job(pro) for _ in range(3)]
    waits(free, 86_400)
    assert [job for _ in range(3) for job in draw()] == favoured


def test_asking_piecemeal_gains_nothing():
    patient, piecemeal = make_user(credits=1000), make_user(credits=1000)
    first, second = make_job(patient), make_job(patient)
    assert draw() == [first]
    once = make_job(piecemeal)
    assert draw() == [once]
    make_job(piecemeal)  # back in line, but where its last turn puts it
    assert draw() == [second]


def test_a_job_more_does_not_cost_a_team_its_place():
    user = make_user(credits=1000)
    make_job(user)
    before = slot_of(user).due_at
    make_job(user)
    assert slot_of(user).due_at == before


def test_a_job_over_the_plan_waits_and_starts_when_one_has_ended():
    user = make_user(credits=1000)
    allow(user, 2)
    jobs = [make_job(user) for _ in range(4)]
    running = claim(images_max=4)
    assert running == jobs[:2]
    assert claim() == []
    assert Job.objects.filter(status="queued").count() == 2
    transitions.cancel(running[1])
    assert claim() == jobs[2:3]


def test_a_batch_takes_turns_between_the_teams_and_keeps_to_each_plan():
    one, two, three = (make_user(credits=1000) for _ in range(3))
    allow(one, 3), allow(two, 1), allow(three, 2)
    ones, twos, threes = ([make_job(user) for _ in range(3)] for user in (one, two, three))
    assert claim(images_max=5) == [ones[0], twos[0], threes[0], ones[1], threes[1]]
    assert claim(images_max=5) == [ones[2]]
    assert claim(images_max=5) == []


def test_what_does_not_fit_is_passed_over_and_smaller_ones_fill_the_batch():
    one, two = make_user(credits=1000), make_user(credits=1000)
    allow(one, 4)
    first = make_job(one, count=2)
    make_job(two, count=3)
    small = make_job(one, count=1)
    assert claim(images_max=4) == [first, small]


@pytest.mark.parametrize(
    "different", [{"size": "512x512"}, {"num_inference_steps": 3}, {"guidance_scale": 3.0}], ids=lambda d: str(list(d))
)
def test_jobs_of_another_shape_run_by_themselves(different):
    one, two = make_user(credits=1000), make_user(credits=1000)
    first, other = make_job(one, guidance_scale=2.0), make_job(two, **{"guidance_scale": 2.0, **different})
    assert first.batch_key != other.batch_key
    assert claim(images_max=8) == [first]


def test_what_a_run_has_in_common_is_in_its_key():
    job = make_job(make_user(credits=100))
    same = transitions.batch_key(job)
    for change in (
        {"model": "sd15"},
        {"model_revision": "abc"},
        {"width": 64},
        {"height": 64},
        {"guidance_scale": 0.0},
    ):
        changed = Job(**{**{f.attname: getattr(job, f.attname) for f in Job._meta.concrete_fields}, **change})
        assert transitions.batch_key(changed) != same
    job.metadata = {"adapters": [["x" * 300, 0.8]]}
    assert len(transitions.batch_key(job)) == 64
    job.kind = Job.Kind.CREATION
    assert transitions.batch_key(job) == ""


def test_a_job_from_before_there_were_keys_runs_alone():
    one, two = make_user(credits=1000), make_user(credits=1000)
    first = make_job(one)
    make_job(two)
    Job.objects.update(batch_key="")
    assert claim(images_max=8) == [first]


def test_a_team_whose_next_job_nobody_here_serves_holds_nobody_up():
    one, two = make_user(credits=1000), make_user(credits=1000)
    allow(one, 2)
    foreign, own, other = make_job(one), make_job(one), make_job(two)
    Job.objects.filter(id=foreign.id).update(model="sd15")
    assert claim() == [own]
    assert claim() == [other]
    assert claim() == []
    assert claim(models=["sd15", "starter"]) == [foreign]


def test_trainings_have_a_line_and_a_limit_of_their_own(settings):
    settings.TRAININGS_PER_TEAM_MAX = 1
    user = make_user(credits=1000)
    picture, training, later, refinement = (
        make_job(user), make_training(user), make_training(user), make_training(user, Job.Kind.REFINEMENT),
    )  # fmt: skip
    assert claim() == [picture]
    trainings = [Job.Kind.CREATION, Job.Kind.REFINEMENT]
    assert claim(images_max=8, kinds=trainings) == [training]
    assert claim(kinds=trainings) == [refinement]
    assert claim(kinds=trainings) == []
    transitions.cancel(training)
    assert claim(kinds=trainings) == [later]


def test_each_kind_rings_its_own_queue(monkeypatch, django_capture_on_commit_callbacks):
    rung = []
    monkeypatch.undo()  # the captured bell
    monkeypatch.setattr(bell.app, "send_task", lambda name, arguments, **options: rung.append(options["queue"]))
    for kind in Job.Kind:
        with django_capture_on_commit_callbacks(execute=True):
            bell.ring(kind)
    assert rung == ["gpu", "train", "train"]


def test_a_lost_bell_is_rung_again_for_every_kind_that_waits():
    user = make_user(credits=1000)
    assert sweeper.sweep().kinds_waiting == ()
    make_job(user), make_training(user)
    assert sweeper.sweep().kinds_waiting == ("creation", "image")


def test_the_end_of_a_job_rings_for_the_next_one_of_a_full_team(bell, django_capture_on_commit_callbacks):
    user = make_user(credits=1000)
    make_job(user), make_job(user)
    (running,) = claim()
    with django_capture_on_commit_callbacks(execute=True):
        transitions.cancel(running)
    assert bell == ["ring"]
    (running,) = claim()
    with django_capture_on_commit_callbacks(execute=True):
        transitions.cancel(running)
    assert bell == ["ring"]  # nothing of its waits any more


def test_a_new_plan_counts_for_the_jobs_that_wait_already(django_capture_on_commit_callbacks):
    user = make_user(credits=1000)
    make_job(user), make_job(user)
    before = slot_of(user).due_at
    with django_capture_on_commit_callbacks(execute=True):
        plans.subscribe(team=team_of(user), plan=Plan.objects.get(slug="pro"), actor="staff")
    slot = slot_of(user)
    assert (slot.jobs_max, slot.queue_priority, before - slot.due_at) == (3, 20, timedelta(seconds=120))
    Plan.objects.filter(slug="pro").update(concurrent_jobs=2, queue_priority=0)
    with django_capture_on_commit_callbacks(execute=True):
        plan_changed.send(sender=Plan, team_id=None)  # staff changed a plan, of whichever teams
    assert (slot_of(user).jobs_max, slot_of(user).due_at) == (2, before)
    assert len(claim(images_max=8)) == 2


def test_a_served_team_leaves_the_line_with_its_last_job_and_comes_back_with_a_released_one():
    user = make_user(credits=100)
    make_job(user)
    (job,) = claim()
    assert slot_of(user).due_at is None and slot_of(user).turn_at is not None
    transitions.release(job)
    assert slot_of(user).due_at == slot_of(user).turn_at


def test_a_sweep_puts_the_line_right_after_somebody_changed_rows_by_hand():
    waiting, idle, new = make_user(credits=100), make_user(credits=100), make_user(credits=100)
    job, canceled, fresh = make_job(waiting), make_job(idle), make_job(new)
    TeamSlot.objects.filter(team=team_of(waiting)).update(due_at=None)
    TeamSlot.objects.filter(team=team_of(new)).delete()
    Job.objects.filter(id=canceled.id).update(status="canceled", finished_at=timezone.now())
    assert claim() == []
    assert slots.repair() == 2
    assert slot_of(idle).due_at is None
    assert {claimed.id for claimed in [*claim(), *claim()]} == {job.id, fresh.id}
    assert slots.repair() == 0


def test_a_claim_takes_few_statements(django_assert_num_queries):
    users = [make_user(credits=100) for _ in range(4)]
    for user in users:
        make_job(user)
    with django_assert_num_queries(6):  # savepoint in and out, next, head, start, served
        claim()
    with django_assert_num_queries(8):  # and for a batch: whose mates, and which
        assert len(claim(images_max=4)) == 3


def test_a_claim_reads_a_few_rows_however_many_jobs_wait_for_another_model(monkeypatch):
    """By PostgreSQL's own count; and of three teams in line it locks one."""
    ask, answers = slots._ask, []
    monkeypatch.setattr(slots, "_ask", lambda sql, **facts: answers.append(ask(sql, **facts)) or answers[-1])
    for _ in range(3):
        fill_queue(make_user(credits=100), jobs=200)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE generation_job, generation_teamslot")
    before = rows_read()
    (job,) = claim(models=["sd15"])
    assert job.model == "sd15" and rows_read() - before <= 20
    assert [len(rows) for rows in answers] == [1]


def fill_queue(user, jobs: int) -> None:
    """So many jobs of one model, and behind them as many of another."""
    first = make_job(user)
    rows = []
    for number in range(2 * jobs):
        row = Job.objects.get(pk=first.pk) if not rows else copy(rows[0])
        row.pk, row.request_key = uuid4(), uuid4().hex
        row.model = "starter" if number < jobs else "sd15"
        row.run_after = first.run_after + timedelta(microseconds=number)
        rows.append(row)
    Job.objects.bulk_create(rows)


def rows_read() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('generation_job', 'generation_teamslot')"
        )
        return int(cursor.fetchone()[0])
