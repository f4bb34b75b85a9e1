import json
import socket
import urllib.error
import urllib.request
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from widthwise.storage.errors import PortRefused
from widthwise.storage.projection.dashboard import MAX_CURVES, application, make_server


def ask(application, path, method="GET"):
    """One request to a WSGI application: its status line and, of JSON, the body."""
    answer = {}

    def start_response(status, _headers, _error=None):
        answer["status"] = status

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    setup_testing_defaults(environ)
    body = b"".join(application(environ, start_response))
    return answer["status"], json.loads(body) if body.startswith(b"{") else None


def detail(application, study):
    status, body = ask(application, f"/api/studies/{study.optuna_study_id}")
    assert status.startswith("200")
    return body


def test_constraints_and_the_best_trial_are_shown_truthfully(database, make_finished_study):
    study = make_finished_study(database, "digits")
    stock = detail(
        optuna_dashboard.wsgi(optuna.storages.get_storage(database.optuna_storage())), study
    )
    ours = detail(application(database), study)
    # What is wrong with optuna-dashboard itself: without this there would be nothing to put right.
    assert [trial["constraints"] for trial in stock["trials"]] == [[], [], []]
    assert [trial["number"] for trial in stock["best_trials"]] == [2]

    assert [trial["constraints"] for trial in ours["trials"]] == [
        [-0.5, -0.5],
        [-0.25, -0.5],
        [0.5, -0.5],
    ]
    attribute_sets = [
        {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}["feasible"]
        for trial in ours["trials"]
    ]
    assert attribute_sets == ["yes", "yes", "no: flops +0.5"]
    assert [trial["number"] for trial in ours["best_trials"]] == [1]
    assert ours["best_trials"][0]["values"] == [0.75]
    assert ours["objective_names"] == ["accuracy"]


def test_the_least_violating_trial_stands_in_where_none_is_feasible(database, make_finished_study):
    study = make_finished_study(
        database,
        "digits",
        [
            (8, 0.5, 0.25),
            (16, 0.75, 0.5),
        ],
    )
    best = detail(application(database), study)["best_trials"]
    assert [(trial["number"], trial["constraints"][0]) for trial in best] == [(0, 0.25)]


def test_a_study_without_results_is_shown(database, make_finished_study):
    study = make_finished_study(database, "digits", [])
    body = detail(application(database), study)
    assert (body["trials"], body["best_trials"]) == ([], [])


def test_trials_keep_their_constraints_for_optuna(database, make_finished_study):
    study = make_finished_study(database, "digits")
    ask(application(database), f"/api/studies/{study.optuna_study_id}")
    [trial, *_] = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert trial.constraints == {"flops": -0.5, "parameters": -0.5}


def test_of_very_many_trials_the_best_and_some_others_keep_their_curves(
    database, make_finished_study
):
    count = MAX_CURVES + 20
    study = make_finished_study(
        database, "many", [(8 * number, number / count, -0.5) for number in range(1, count + 1)]
    )
    trials = detail(application(database), study)["trials"]
    with_curves = [trial["number"] for trial in trials if trial["intermediate_values"]]
    assert len(trials) == count
    assert len(with_curves) <= MAX_CURVES
    assert {*range(count - MAX_CURVES // 2, count)} < {*with_curves}
    assert min(with_curves) == 0
    [first, *_] = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert first.intermediate_values, "what is stored stays"


def test_few_trials_keep_all_their_curves(database, make_finished_study):
    study = make_finished_study(database, "digits")
    trials = detail(application(database), study)["trials"]
    assert all(len(trial["intermediate_values"]) == 2 for trial in trials)


def test_deleting_is_refused_over_the_wire_unless_asked_for(
    database, make_finished_study, serve_dashboard
):
    study = make_finished_study(database, "digits")

    def delete(address):
        url = f"{address}/api/studies/{study.optuna_study_id}"
        request = urllib.request.Request(url, b"{}", method="DELETE")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status

    with pytest.raises(urllib.error.HTTPError) as refused:
        delete(serve_dashboard(database))
    assert refused.value.code == 403
    assert "--writable" in refused.value.read().decode()
    refused.value.close()
    assert len(database.optuna_storage().get_all_studies()) == 1
    assert delete(serve_dashboard(database, writable=True)) == 204
    assert database.optuna_storage().get_all_studies() == []


def test_it_listens_on_loopback_only(database):
    with make_server(database, port=0) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.server_address[1]}/dashboard/"


def test_a_port_in_use_is_reported(database):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortRefused, match=f"127.0.0.1:{port} .another program") as caught:
            make_server(database, port=port)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("port", [-1, 70000])
def test_an_invalid_port_is_reported(database, port):
    with pytest.raises(PortRefused, match="choose another port"):
        make_server(database, port=port)
