class CInPort:
    pass


class COutPort:
    pass
