"""Analyses that write their results into the AnnData of a prediction, as scanpy's tools do.

Each returns None, or with ``copy=True`` a copy that has the results, and leaves the prediction as
it is. What a reader of the results should know is a warning.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence

from anndata import AnnData

from napari_nh2st.analysis.autocorrelation import moran
from napari_nh2st.analysis.comparison import keep_comparison
from napari_nh2st.analysis.domain_settings import DomainSettings
from napari_nh2st.analysis.domains import find_domains
from napari_nh2st.analysis.named_domains import COLUMN, NamedDomains
from napari_nh2st.analysis.residuals import spots_with_both
from napari_nh2st.analysis.scores import joint_scores
from napari_nh2st.analysis.signatures import found_text, keep_signatures
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.schema import NUCLEI, STATUS, UNFAMILIAR, check_prediction, notes
from napari_nh2st.spots.positions import ARRAY, IN_TISSUE, PIXELS

MORANS_I = "morans_i"
"""Column of ``var``: Moran's I of a gene's map, see :func:`~napari_nh2st.analysis.moran`."""

_OF_TILES = (*ARRAY, *PIXELS, IN_TISSUE, STATUS, UNFAMILIAR, NUCLEI)
"""Columns of ``obs`` without which a prediction is none, or says less."""


def assign_domains(
    prediction: AnnData,
    settings: DomainSettings | None = None,
    *,
    key_added: str = COLUMN,
    copy: bool = False,
) -> AnnData | None:
    """Group tiles by their prediction into spatial domains.

    Parameters
    ----------
    prediction
        Tiles × genes, from :func:`~napari_nh2st.inference.predict`.
    settings
        How :func:`~napari_nh2st.analysis.find_domains` groups them.
    key_added
        Column of ``obs``. The docks show ``domain`` alone; other names, which replace ``domain``
        in all keys below, keep several results side by side.
    copy
        Return a copy with the results, and leave `prediction` as it is.

    Returns
    -------
    AnnData or None
        The prediction, or its copy, gets

        - ``obs["domain"]``: categorical, "domain 1" the largest; NaN where nothing is predicted.
          Domains of an earlier call are replaced;
        - ``uns["domain_colors"]``: their colors, where scanpy looks for them. A domain that is
          found again keeps its color;
        - ``uns["nh2st"]["domain_markers"]``: table of their marker genes;
        - ``obs["domain_stable_in"]``, if the prediction kept the values of the model's heads: the
          number of heads in which a tile is in the same domain.

    Warns
    -----
    UserWarning
        A column that another tool wrote is replaced, or the search has a notice.

    Raises
    ------
    InputError
        The AnnData is not a prediction, the key cannot be used, or as for
        :func:`~napari_nh2st.analysis.find_domains`.

    Examples
    --------
    .. code-block:: python

        analysis.assign_domains(prediction, analysis.DomainSettings(n_domains=4))
        sc.pl.spatial(prediction, color="domain", spot_size=100)
    """
    if key_added in _OF_TILES or "/" in key_added:
        raise InputError(
            f"key_added is {key_added!r}: domains cannot be called so. Give another name"
        )
    target = _target(prediction, copy)
    found = find_domains(target, settings)
    if found.notice:
        warnings.warn(found.notice, UserWarning, stacklevel=2)
    if lost := NamedDomains.what_is_lost(target, key_added):
        warnings.warn(f"{lost} To keep it, give key_added.", UserWarning, stacklevel=2)
    NamedDomains.found(found, NamedDomains.of(target, key_added)).write(target, key_added)
    return target if copy else None


def score_signatures(
    prediction: AnnData, signatures: Mapping[str, Sequence[str]], *, copy: bool = False
) -> AnnData | None:
    """Score lists of genes over the tiles: the mean z-score of each list's genes.

    Parameters
    ----------
    prediction
        Tiles × genes.
    signatures
        Genes by name, see :func:`~napari_nh2st.analysis.read_gmt`. Case does not matter.
    copy
        Return a copy with the results, and leave `prediction` as it is.

    Returns
    -------
    AnnData or None
        The prediction, or its copy, gets a column of ``obs`` for each signature, by its name (``_``
        for ``/``), NaN where nothing is predicted, and ``uns["nh2st"]["signatures"]``, a table of
        their genes.

    Warns
    -----
    UserWarning
        Genes of a list are not in the prediction; it names them, with similar ones that are.

    Raises
    ------
    InputError
        The AnnData is not a prediction, a name is that of another column, or the prediction has no
        gene of any signature.

    Examples
    --------
    .. code-block:: python

        analysis.score_signatures(prediction, {"amplicon": ["ERBB2", "GRB7"]})
        prediction.obs["amplicon"]
    """
    target = _target(prediction, copy)
    for name, match in keep_signatures(target, signatures).items():
        if match.unknown:
            listed = len(match.found) + len(match.unknown)
            warnings.warn(f"{name}: {found_text(listed, match)}", UserWarning, stacklevel=2)
    return target if copy else None


def score_smoothness(prediction: AnnData, *, copy: bool = False) -> AnnData | None:
    """Score how smooth each gene's map is, by Moran's I over neighboring tiles.

    Parameters
    ----------
    prediction
        Tiles × genes, as for :func:`~napari_nh2st.analysis.moran`.
    copy
        Return a copy with the results, and leave `prediction` as it is.

    Returns
    -------
    AnnData or None
        The prediction, or its copy, gets ``var["morans_i"]``: near 1 for a smooth map, near 0 for a
        random one, NaN for a gene without variance.

    Warns
    -----
    UserWarning
        A column that another tool wrote is replaced.

    Raises
    ------
    InputError
        The AnnData is not a prediction.

    Examples
    --------
    .. code-block:: python

        analysis.score_smoothness(prediction)
        prediction.var["morans_i"].nlargest(10)
    """
    target = _target(prediction, copy)
    smoothness = moran(target)
    _warn_of_lost(target, (MORANS_I,), is_ours=notes(target).get("smoothness") == MORANS_I)
    target.var[MORANS_I] = smoothness
    notes(target)["smoothness"] = MORANS_I
    return target if copy else None


def score_measured(
    prediction: AnnData, *, bootstrap: int = 1000, seed: int = 0, copy: bool = False
) -> AnnData | None:
    """Score every gene against what was measured at the same places.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``, from :func:`~napari_nh2st.analysis.at_spots` or
        an evaluation. Spots without a prediction or without any measurement are left out.
    bootstrap
        Number of resamples for the 95 % interval of a correlation; 0 for no interval.
    seed
        Seed of the resampling.
    copy
        Return a copy with the results, and leave `prediction` as it is.

    Returns
    -------
    AnnData or None
        The prediction, or its copy, gets the columns ``pcc``, ``pcc_low``, ``pcc_high``, ``mse``,
        ``mae``, ``mse_baseline`` and ``mae_baseline`` (NaN here) in ``var``, and the summary over
        all genes in ``uns["nh2st"]["comparison"]``; see
        :func:`~napari_nh2st.analysis.scores.gene_scores` and
        :func:`~napari_nh2st.analysis.scores.summarize`.

    Warns
    -----
    UserWarning
        A column that another tool wrote is replaced.

    Raises
    ------
    InputError
        The AnnData is not a prediction, there is no ``layers["measured"]``, or fewer than two spots
        have both values.

    Examples
    --------
    .. code-block:: python

        compared = analysis.at_spots(prediction, spots)
        analysis.score_measured(compared)
        compared.var["pcc"].nlargest(10)
    """
    target = _target(prediction, copy)
    genes, summary = joint_scores([spots_with_both(target)], None, bootstrap=bootstrap, seed=seed)
    columns = [name for name in genes if name != "gene"]
    _warn_of_lost(target, columns, is_ours="comparison" in notes(target))
    keep_comparison(target, genes, summary)
    return target if copy else None


def _warn_of_lost(prediction: AnnData, columns: Iterable[str], *, is_ours: bool) -> None:
    """Warn of columns of ``var`` that are replaced, unless an earlier call wrote them."""
    lost = [] if is_ours else [f"var[{name!r}]" for name in columns if name in prediction.var]
    if lost:
        warnings.warn(
            f"{', '.join(lost)}, which other software or you have written, "
            f"{'is' if len(lost) == 1 else 'are'} replaced. To keep it, rename it first.",
            UserWarning,
            stacklevel=3,
        )


def _target(prediction: AnnData, copy: bool) -> AnnData:
    check_prediction(prediction)
    return prediction.copy() if copy else prediction
