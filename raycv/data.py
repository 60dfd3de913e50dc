from pydantic import BaseModel


class Preprocessing(BaseModel):
    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad: int = 0
    mirror: bool = True
