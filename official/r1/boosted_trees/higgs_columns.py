"""The 28 columns of HIGGS, as Baldi, Sadowski and Whiteson (2014) name them.

21 are measured: transverse momenta, directions (pseudorapidity eta, azimuth phi) and
b-tags. The last seven are masses computed from them.
"""

JETS = ("jet_1", "jet_2", "jet_3", "jet_4")
MEASURED = (
    "lepton_pt",
    "lepton_eta",
    "lepton_phi",
    "missing_energy_magnitude",
    "missing_energy_phi",
    *(f"{jet}_{what}" for jet in JETS for what in ("pt", "eta", "phi", "b_tag")),
)
MASSES = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")
COLUMNS = MEASURED + MASSES
