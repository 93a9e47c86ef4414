from __future__ import annotations

from fastapi.testclient import TestClient

from verger.kernel.classifier.taxonomy import read_taxonomy


def test_every_species_that_may_be_named_has_its_facts(client: TestClient) -> None:
    pages = [client.get("/v1/fruits", params={"limit": 40, "offset": offset}).json() for offset in (0, 40)]
    found = [fruit["id"] for page in pages for fruit in page["items"]]
    species = {taxon.species for taxon in read_taxonomy().values()}
    assert (len(found), set(found)) == (len(species), species)
    for key in species:
        fruit = client.get(f"/v1/fruits/{key}").json()
        assert fruit["season"]["months"] and fruit["origin"] and fruit["sources"], key


def test_search_ignores_case_and_accents_in_every_language(client: TestClient) -> None:
    def ids(text: str) -> list[str]:
        return [fruit["id"] for fruit in client.get("/v1/fruits", params={"q": text}).json()["items"]]

    assert "peach" in ids("PECHE")
    assert "peach" in ids("pêch")
    assert "apple" in ids("malus dom")
    assert ids("no such fruit") == ids("%") == []


def test_facts_are_in_the_language_of_the_reader(client: TestClient) -> None:
    english = client.get("/v1/fruits/pear")
    french = client.get("/v1/fruits/pear", headers={"Accept-Language": "fr"})
    assert (english.json()["name"], french.json()["name"]) == ("Pear", "Poire")
    assert english.json()["storage"] != french.json()["storage"]
    assert (english.headers["Content-Language"], french.headers["Content-Language"]) == ("en", "fr")


def test_an_unknown_fruit_is_not_found(client: TestClient) -> None:
    response = client.get("/v1/fruits/stone")
    assert (response.status_code, "GET /v1/fruits" in response.json()["detail"]) == (404, True)
    assert client.get("/v1/fruits", params={"limit": 0}).status_code == 422
