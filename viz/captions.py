"""What happens at each op, in words: English and Simplified Chinese, from one table beside the ops' names."""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "zh")


class Words(NamedTuple):
    """An op in one language: its name, what it computes, and what it does to the gradient that arrives."""

    name: str
    forward: str
    backward: str


_NONE = "no gradient passes", "不传递梯度"

# For each op: the words in English, then in Chinese.
_TABLE: dict[str, tuple[tuple[str, str, str], tuple[str, str, str]]] = {
    # Element by element
    "add": (
        ("add", "the inputs are added", "both inputs receive the arriving gradient unchanged"),
        ("加", "把输入相加", "两个输入都原样接收传来的梯度"),
    ),
    "sub": (
        (
            "subtract",
            "the right input is subtracted from the left",
            "the left input receives the arriving gradient unchanged, the right one with the opposite sign",
        ),
        ("减", "左输入减去右输入", "左输入原样接收传来的梯度，右输入接收其相反数"),
    ),
    "mul": (
        ("multiply", "the inputs are multiplied", "each input receives the arriving gradient times the other input"),
        ("乘", "把输入相乘", "每个输入接收传来的梯度乘以另一个输入"),
    ),
    "div": (
        (
            "divide",
            "the left input is divided by the right",
            "the left input receives the arriving gradient divided by the right input; "
            "the right one, times −y, divided by itself",
        ),
        ("除", "左输入除以右输入", "左输入接收传来的梯度除以右输入；右输入接收梯度乘以 −y 再除以自身"),
    ),
    "neg": (
        ("negate", "the sign is turned", "the arriving gradient changes its sign"),
        ("取负", "改变符号", "传来的梯度变号"),
    ),
    "divide_or_zero": (
        (
            "divide_or_zero",
            "the left input is divided by the right, giving 0 where that is 0",
            "as for a division; where the divisor is 0, no gradient passes",
        ),
        ("除（除数为零得零）", "左输入除以右输入，除数为 0 处得 0", "与除法相同；除数为 0 处不传递梯度"),
    ),
    "power_derivative": (
        (
            "power_derivative",
            "a derivative of a power is computed",
            "the arriving gradient is multiplied by the next derivative of the power",
        ),
        ("幂的高阶导数", "计算幂函数的某阶导数", "传来的梯度乘以幂函数的下一阶导数"),
    ),
    "power_slope": (
        (
            "power_slope",
            "the slope of a power is computed",
            "the arriving gradient is multiplied by the slope of this slope",
        ),
        ("幂的斜率", "计算幂函数的斜率", "传来的梯度乘以该斜率的斜率"),
    ),
    "log_or_zero": (
        (
            "log_or_zero",
            "the natural logarithm is taken, 0 where the input is 0",
            "the arriving gradient is divided by the input; where that is 0, no gradient passes",
        ),
        ("对数（零得零）", "取自然对数，输入为 0 处得 0", "传来的梯度除以输入；输入为 0 处不传递梯度"),
    ),
    "pow": (
        (
            "power",
            "the left input is raised to the power of the right",
            "the base receives the arriving gradient times exponent times base to the power of one less",
        ),
        ("幂", "左输入的右输入次方", "底数接收传来的梯度乘以指数，再乘以底数的（指数减一）次方"),
    ),
    "exp": (
        ("exp", "e is raised to the input", "the arriving gradient is multiplied by the output: exp is its own slope"),
        ("指数", "e 的输入次方", "传来的梯度乘以输出：指数函数的斜率就是它自己"),
    ),
    "expm1": (
        ("expm1", "e is raised to the input, less 1", "the arriving gradient is multiplied by the output plus 1"),
        ("指数减一", "e 的输入次方减 1", "传来的梯度乘以输出加 1"),
    ),
    "log": (
        ("log", "the natural logarithm is taken", "the arriving gradient is divided by the input"),
        ("对数", "取自然对数", "传来的梯度除以输入"),
    ),
    "log1p": (
        ("log1p", "the logarithm of 1 plus the input is taken", "the arriving gradient is divided by 1 plus the input"),
        ("对数（加一）", "取 1 加输入的对数", "传来的梯度除以 1 加输入"),
    ),
    "sqrt": (
        ("sqrt", "the square root is taken", "the arriving gradient is divided by twice the output"),
        ("平方根", "取平方根", "传来的梯度除以两倍的输出"),
    ),
    "square": (
        ("square", "the input is squared", "the arriving gradient is multiplied by twice the input"),
        ("平方", "取平方", "传来的梯度乘以两倍的输入"),
    ),
    "sin": (
        ("sin", "the sine is taken", "the arriving gradient is multiplied by the cosine of the input"),
        ("正弦", "取正弦", "传来的梯度乘以输入的余弦"),
    ),
    "cos": (
        ("cos", "the cosine is taken", "the arriving gradient is multiplied by minus the sine of the input"),
        ("余弦", "取余弦", "传来的梯度乘以输入正弦的相反数"),
    ),
    "tanh": (
        (
            "tanh",
            "the input is squeezed to between −1 and 1",
            "the arriving gradient is multiplied by 1 − y²: little passes where the output is near −1 or 1",
        ),
        ("双曲正切", "把输入压缩到 −1 与 1 之间", "传来的梯度乘以 1 − y²：输出接近 ±1 处几乎不通过"),
    ),
    "sign": (("sign", "only the sign is kept", _NONE[0]), ("符号", "只保留符号", _NONE[1])),
    "abs": (
        ("abs", "the sign is dropped", "the gradient passes, with its sign turned where the input is negative"),
        ("绝对值", "去掉符号", "梯度通过，输入为负处变号"),
    ),
    "erf": (
        (
            "erf",
            "the error function is applied",
            "the arriving gradient is multiplied by the bell curve 2/√π · exp(−x²)",
        ),
        ("误差函数", "应用误差函数", "传来的梯度乘以钟形曲线 2/√π · exp(−x²)"),
    ),
    "greater": (("greater", "is the left input larger?", _NONE[0]), ("大于", "左输入是否更大？", _NONE[1])),
    "greater_equal": (
        ("greater_equal", "is the left input at least as large?", _NONE[0]),
        ("大于等于", "左输入是否不小于右输入？", _NONE[1]),
    ),
    "less": (("less", "is the left input smaller?", _NONE[0]), ("小于", "左输入是否更小？", _NONE[1])),
    "less_equal": (
        ("less_equal", "is the left input at most as large?", _NONE[0]),
        ("小于等于", "左输入是否不大于右输入？", _NONE[1]),
    ),
    "equal": (("equal", "are the inputs equal?", _NONE[0]), ("等于", "两个输入是否相等？", _NONE[1])),
    "not_equal": (("not_equal", "do the inputs differ?", _NONE[0]), ("不等于", "两个输入是否不等？", _NONE[1])),
    "where": (
        (
            "where",
            "from each place, one of two inputs is chosen by a condition",
            "each gradient goes to the input that was chosen there, and 0 to the other",
        ),
        ("选择", "按条件在每处从两个输入中选一个", "每处的梯度传给被选中的输入，另一个得 0"),
    ),
    "masked_fill": (
        (
            "masked_fill",
            "the masked places are overwritten",
            "the gradient passes where nothing was overwritten, and is 0 elsewhere",
        ),
        ("掩码填充", "覆盖被掩码的位置", "未被覆盖处梯度通过，其余处为 0"),
    ),
    "maximum": (
        (
            "maximum",
            "the larger of the two inputs is kept",
            "the gradient goes to the input that was larger; at a tie each gets half",
        ),
        ("较大值", "保留两个输入中较大的", "梯度传给较大的输入；相等时各得一半"),
    ),
    "minimum": (
        (
            "minimum",
            "the smaller of the two inputs is kept",
            "the gradient goes to the input that was smaller; at a tie each gets half",
        ),
        ("较小值", "保留两个输入中较小的", "梯度传给较小的输入；相等时各得一半"),
    ),
    "clip": (
        ("clip", "values outside the limits are set to the limit", "the gradient passes where nothing was cut off"),
        ("截断", "超出界限的值取界限值", "未被截断处梯度通过"),
    ),
    "relu": (
        (
            "relu",
            "what is negative becomes 0, the rest stays",
            "the gradient passes where the input is positive and stops where it is not",
        ),
        ("线性整流", "负值变为 0，其余不变", "输入为正处梯度通过，其余处停止"),
    ),
    "leaky_relu": (
        (
            "leaky_relu",
            "what is negative is made small, the rest stays",
            "the gradient passes where the input is positive, and a small share of it elsewhere",
        ),
        ("带泄漏的整流", "负值被缩小，其余不变", "输入为正处梯度通过，其余处通过一小部分"),
    ),
    "elu": (
        (
            "elu",
            "what is negative is bent to a curve that ends at −α, the rest stays",
            "the gradient passes where the input is positive; elsewhere it is multiplied by the slope of the curve",
        ),
        ("指数线性", "负值变为趋向 −α 的曲线，其余不变", "输入为正处梯度通过，其余处乘以曲线的斜率"),
    ),
    "sigmoid": (
        (
            "sigmoid",
            "the input is squeezed to between 0 and 1",
            "the arriving gradient is multiplied by y (1 − y): little passes where the output is near 0 or 1",
        ),
        ("S 形函数", "把输入压缩到 0 与 1 之间", "传来的梯度乘以 y (1 − y)：输出接近 0 或 1 处几乎不通过"),
    ),
    "softplus": (
        ("softplus", "a smooth relu is applied", "the arriving gradient is multiplied by the sigmoid of the input"),
        ("平滑整流", "应用平滑的整流函数", "传来的梯度乘以输入的 S 形函数值"),
    ),
    "silu": (
        (
            "silu",
            "the input is multiplied by its own sigmoid",
            "the arriving gradient is multiplied by the slope of this curve, σ(x) (1 + x (1 − σ(x)))",
        ),
        ("自门控", "输入乘以自身的 S 形函数值", "传来的梯度乘以该曲线的斜率 σ(x) (1 + x (1 − σ(x)))"),
    ),
    "identity": (
        ("identity", "the value stays as it is", "the arriving gradient passes unchanged"),
        ("恒等", "值保持不变", "传来的梯度原样通过"),
    ),
    "constant": (
        ("constant", "the value is taken as a constant", "no gradient passes, on purpose"),
        ("常量", "把值当作常量", "有意不传递梯度"),
    ),
    "astype": (
        ("astype", "the numbers change their type", "the gradient passes, in the type of the input"),
        ("类型转换", "改变数值类型", "梯度以输入的类型通过"),
    ),
    # Moving elements
    "sum": (
        ("sum", "elements are added up", "each element receives the arriving gradient: all had an equal share"),
        ("求和", "把元素加起来", "每个元素都接收传来的梯度：它们的份额相同"),
    ),
    "expand": (
        ("expand", "the value is copied along an axis", "the gradients of all copies are added up"),
        ("扩展", "沿某个轴复制", "所有副本的梯度相加"),
    ),
    "broadcast_to": (
        ("broadcast_to", "the value is copied to a larger shape", "the gradients of all copies are added up"),
        ("广播", "复制到更大的形状", "所有副本的梯度相加"),
    ),
    "sum_to": (
        ("sum_to", "elements are added up to a smaller shape", "each element receives the gradient of its sum"),
        ("求和到形状", "求和到更小的形状", "每个元素接收其所在和的梯度"),
    ),
    "reshape": (
        ("reshape", "the elements are put into another shape", "the gradient is put back into the old shape"),
        ("变形", "把元素放入另一种形状", "梯度变回原来的形状"),
    ),
    "squeeze": (
        ("squeeze", "axes of length 1 are dropped", "the gradient gets these axes back"),
        ("去除轴", "去掉长度为 1 的轴", "梯度恢复这些轴"),
    ),
    "expand_dims": (
        ("expand_dims", "an axis of length 1 is added", "the gradient loses this axis again"),
        ("增加轴", "增加长度为 1 的轴", "梯度再去掉该轴"),
    ),
    "transpose": (
        ("transpose", "the axes are reordered", "the axes of the gradient are put back in order"),
        ("转置", "重新排列各轴", "梯度的各轴恢复原来的顺序"),
    ),
    "swapaxes": (
        ("swapaxes", "two axes are swapped", "the same two axes of the gradient are swapped back"),
        ("交换轴", "交换两个轴", "梯度的这两个轴换回来"),
    ),
    "flip": (
        ("flip", "the order of the elements is turned round", "the gradient is turned round as well"),
        ("翻转", "颠倒元素的顺序", "梯度也颠倒顺序"),
    ),
    "roll": (
        ("roll", "the elements are shifted around", "the gradient is shifted back"),
        ("滚动", "循环移动元素", "梯度移动回去"),
    ),
    "tril": (
        ("tril", "what lies above the diagonal becomes 0", "the gradient above the diagonal becomes 0"),
        ("下三角", "对角线以上变为 0", "对角线以上的梯度变为 0"),
    ),
    "triu": (
        ("triu", "what lies below the diagonal becomes 0", "the gradient below the diagonal becomes 0"),
        ("上三角", "对角线以下变为 0", "对角线以下的梯度变为 0"),
    ),
    "getitem": (
        (
            "getitem",
            "some elements are picked",
            "each picked element receives its gradient; the others receive 0",
        ),
        ("取元素", "取出一部分元素", "被取出的元素接收各自的梯度，其余得 0"),
    ),
    "scatter": (
        ("scatter", "elements are added into zeros at their places", "each element receives the gradient of its place"),
        ("散布", "把元素加到全零数组的各自位置", "每个元素接收其位置上的梯度"),
    ),
    "pad": (
        ("pad", "a margin is added around the elements", "the margin is cut off the gradient"),
        ("填充", "在元素四周加边", "梯度去掉边"),
    ),
    "repeat": (
        ("repeat", "each element is repeated", "the gradients of its repetitions are added up"),
        ("重复", "重复每个元素", "各次重复的梯度相加"),
    ),
    "concatenate": (
        ("concatenate", "the inputs are joined along an axis", "each input receives its own part of the gradient"),
        ("拼接", "沿某个轴连接各输入", "每个输入接收属于自己的那部分梯度"),
    ),
    "stack": (
        ("stack", "the inputs are laid one upon the other", "each input receives its own layer of the gradient"),
        ("堆叠", "把各输入层层叠放", "每个输入接收属于自己的那层梯度"),
    ),
    # Reductions
    "count": (("count", "how many elements take part", _NONE[0]), ("计数", "参与的元素个数", _NONE[1])),
    "mean": (
        (
            "mean",
            "the mean is taken",
            "each element receives the arriving gradient divided by how many there are",
        ),
        ("平均", "取平均值", "每个元素接收传来的梯度除以元素个数"),
    ),
    "var": (
        (
            "var",
            "the mean squared distance from the mean is taken",
            "each element receives a gradient in proportion to its distance from the mean",
        ),
        ("方差", "取与均值之差的平方的平均", "每个元素接收的梯度与它到均值的距离成正比"),
    ),
    "std": (
        (
            "std",
            "the standard deviation is taken",
            "each element receives a gradient in proportion to its distance from the mean",
        ),
        ("标准差", "取标准差", "每个元素接收的梯度与它到均值的距离成正比"),
    ),
    "max": (
        ("max", "the largest element is kept", "the gradient goes to the largest element alone; ties share it"),
        ("最大值", "保留最大的元素", "梯度只传给最大的元素；并列者平分"),
    ),
    "min": (
        ("min", "the smallest element is kept", "the gradient goes to the smallest element alone; ties share it"),
        ("最小值", "保留最小的元素", "梯度只传给最小的元素；并列者平分"),
    ),
    "argmax": (("argmax", "where is the largest element?", _NONE[0]), ("最大值位置", "最大的元素在哪里？", _NONE[1])),
    "argmin": (("argmin", "where is the smallest element?", _NONE[0]), ("最小值位置", "最小的元素在哪里？", _NONE[1])),
    "cumsum": (
        (
            "cumsum",
            "each element becomes the sum of all up to it",
            "each element receives the gradients of all sums that it is part of",
        ),
        ("累加", "每个元素变为到它为止的和", "每个元素接收它所参与的所有和的梯度"),
    ),
    "others": (
        ("others", "for each element, the product of all others", _NONE[0]),
        ("其余之积", "对每个元素取其余元素之积", _NONE[1]),
    ),
    "prod": (
        (
            "prod",
            "the elements are multiplied",
            "each element receives the arriving gradient times the product of the others",
        ),
        ("连乘", "把元素相乘", "每个元素接收传来的梯度乘以其余元素之积"),
    ),
    # Linear algebra
    "matmul": (
        (
            "matmul",
            "each row of the left is multiplied with each column of the right",
            "the left matrix receives G · bᵀ, the right one aᵀ · G: each times the other, turned to fit",
        ),
        ("矩阵乘法", "左边的每一行与右边的每一列相乘", "左矩阵接收 G · bᵀ，右矩阵接收 aᵀ · G：各乘以转置后的另一个"),
    ),
    "dot": (
        (
            "dot",
            "two vectors are multiplied element by element and added up",
            "each vector receives the arriving gradient times the other vector",
        ),
        ("点积", "两个向量逐元素相乘再相加", "每个向量接收传来的梯度乘以另一个向量"),
    ),
    "matvec": (
        (
            "matvec",
            "a matrix is multiplied with a vector",
            "the matrix receives the outer product of gradient and vector, the vector the transposed matrix times it",
        ),
        ("矩阵乘向量", "矩阵与向量相乘", "矩阵接收梯度与向量的外积，向量接收转置矩阵乘以梯度"),
    ),
    "vecmat": (
        (
            "vecmat",
            "a vector is multiplied with a matrix",
            "the vector receives the matrix times the gradient, the matrix the outer product of vector and gradient",
        ),
        ("向量乘矩阵", "向量与矩阵相乘", "向量接收矩阵乘以梯度，矩阵接收向量与梯度的外积"),
    ),
    "outer": (
        (
            "outer",
            "each element of one vector is multiplied with each of the other",
            "each vector receives the gradient multiplied with the other vector",
        ),
        ("外积", "一个向量的每个元素与另一个的每个元素相乘", "每个向量接收梯度与另一个向量之积"),
    ),
    "einsum": (
        (
            "einsum",
            "products are summed over the named axes",
            "each input receives the gradient summed with the other inputs over its missing axes",
        ),
        ("爱因斯坦求和", "沿指定的轴对乘积求和", "每个输入接收梯度与其他输入沿所缺轴的求和"),
    ),
    "norm": (
        (
            "norm",
            "the length of a vector is taken",
            "the gradient points along the vector itself, scaled to length 1",
        ),
        ("范数", "取向量的长度", "梯度沿向量自身的方向，长度缩放为 1"),
    ),
    # Fused
    "softmax": (
        (
            "softmax",
            "scores become shares that add up to 1",
            "each score receives its share times how much its gradient is above the mean of all",
        ),
        ("归一化指数", "把分数变为总和为 1 的份额", "每个分数接收其份额乘以（其梯度减去加权平均）"),
    ),
    "logsumexp": (
        (
            "logsumexp",
            "a smooth maximum is taken",
            "each element receives the arriving gradient times its softmax share",
        ),
        ("对数指数和", "取平滑的最大值", "每个元素接收传来的梯度乘以它的 softmax 份额"),
    ),
    "log_softmax": (
        (
            "log_softmax",
            "the logarithms of the softmax shares are taken",
            "each score receives its gradient less its share of the sum of all gradients",
        ),
        ("对数归一化", "取 softmax 份额的对数", "每个分数接收其梯度减去梯度总和中它的份额"),
    ),
    "gelu": (
        (
            "gelu",
            "each input is weighted by how likely a normal number lies below it",
            "the arriving gradient is multiplied by the slope of this smooth gate",
        ),
        ("高斯门控", "每个输入按正态数小于它的概率加权", "传来的梯度乘以这个平滑门的斜率"),
    ),
    "gelu_tanh": (
        (
            "gelu_tanh",
            "gelu, approximated with tanh",
            "the arriving gradient is multiplied by the slope of this smooth gate",
        ),
        ("高斯门控（tanh 近似）", "用 tanh 近似的高斯门控", "传来的梯度乘以这个平滑门的斜率"),
    ),
    "linear": (
        (
            "linear",
            "each row is multiplied with the weights, and the bias is added",
            "x receives G · W, the weights Gᵀ · x, and the bias the sum of the gradients of all rows",
        ),
        ("线性层", "每一行与权重相乘，再加上偏置", "x 接收 G · W，权重接收 Gᵀ · x，偏置接收各行梯度之和"),
    ),
    "layer_norm": (
        (
            "layer_norm",
            "each row is shifted to mean 0 and scaled to spread 1, then weighted",
            "x receives its gradient without the parts that only shift or stretch the row: "
            "the normalisation undoes those",
        ),
        (
            "层归一化",
            "每一行移到均值 0、缩放到标准差 1，再加权",
            "x 接收去掉平移与拉伸部分后的梯度：归一化会抵消这两部分",
        ),
    ),
    "cross_entropy": (
        (
            "cross_entropy",
            "how surprised the model is by the right class",
            "each score receives its predicted share, less 1 for the right class: pull the right one up, the rest down",
        ),
        ("交叉熵", "模型对正确类别有多意外", "每个分数接收预测的份额，正确类别再减 1：把正确的拉高，其余压低"),
    ),
    "mse_loss": (
        (
            "mse_loss",
            "the mean squared distance from the target",
            "each prediction receives twice its distance from the target, divided by how many there are",
        ),
        ("均方误差", "与目标之差的平方的平均", "每个预测接收两倍的（预测减目标）除以元素个数"),
    ),
    "binary_cross_entropy_with_logits": (
        (
            "binary_cross_entropy_with_logits",
            "how surprised the model is by the right answer, yes or no",
            "each score receives its predicted probability less the target",
        ),
        ("二元交叉熵", "模型对正确答案（是或否）有多意外", "每个分数接收预测的概率减去目标"),
    ),
    "embedding": (
        (
            "embedding",
            "each number looks up its row in a table",
            "each row receives the gradients of all places that looked it up; the other rows receive 0",
        ),
        ("嵌入", "每个编号在表中查出一行", "每一行接收所有查过它的位置的梯度，其余行得 0"),
    ),
    "dropout": (
        (
            "dropout",
            "some elements are dropped by chance, the rest is scaled up",
            "the gradient passes where the element was kept, scaled in the same way, and is 0 elsewhere",
        ),
        ("随机失活", "随机丢弃一些元素，其余放大", "被保留处梯度同样放大后通过，其余处为 0"),
    ),
    "width": (("width", "the length of the last axis", _NONE[0]), ("宽度", "最后一个轴的长度", _NONE[1])),
    "attention": (
        (
            "attention",
            "each query mixes the values of the keys that fit it",
            "the values receive the gradient by the weights they were mixed with; queries and keys through the softmax",
        ),
        ("注意力", "每个查询按匹配程度混合各键的值", "值按混合权重接收梯度；查询和键经由 softmax 接收梯度"),
    ),
    "attention_weights": (
        (
            "attention_weights",
            "how well each query fits each key, as shares that add up to 1",
            "queries and keys receive the gradient through the softmax",
        ),
        ("注意力权重", "每个查询与每个键的匹配程度，表示为总和为 1 的份额", "查询和键经由 softmax 接收梯度"),
    ),
}
_UNKNOWN = (
    ("", "the op is applied", "each input receives the arriving gradient times the local derivative of the op"),
    ("", "应用该运算", "每个输入接收传来的梯度乘以该运算的局部导数"),
)


def check_language(lang: str, where: str) -> str:
    """The language itself; ValueError where there are no words in it."""
    if lang not in LANGUAGES:
        raise ValueError(f"{where}: lang is one of {', '.join(map(repr, LANGUAGES))}, got {lang!r}")
    return lang


def words(op: str, lang: str = "en") -> Words:
    """The words for an op; for one that is not ours, its own name and what holds for any.

    >>> words("add").backward
    'both inputs receive the arriving gradient unchanged'
    >>> words("add", "zh").backward
    '两个输入都原样接收传来的梯度'
    """
    name, forward, backward = _TABLE.get(op, _UNKNOWN)[LANGUAGES.index(lang)]
    return Words(name or op, forward, backward)


def ops() -> frozenset[str]:
    """The ops that the table has words for."""
    return frozenset(_TABLE)
